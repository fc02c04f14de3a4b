// New downloads: links as they are typed, torrents and Metalinks as they are dropped, wherever on the page.
import { A, s, t, url, format, toast, Icon } from "ariacluster";

const LINK = /(?:^|\s)(?:https?:\/\/|ftp:\/\/|sftp:\/\/|magnet:\?)/i;
const DRAFT = "ac-add";
const NOTHING = { node: "", tags: "", prefer_tags: "", dir: "", priority: "normal", headers: "", checksum: "", not_before: "", paused: false };
const BY_HAND = [null, undefined, "text", "node", "priority", "paused"];
const PRIORITIES = ["low", "normal", "high", "urgent"];
const writes = (at) => at?.closest?.("input, textarea, select, [contenteditable]");
const key = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

export default {
  components: { Icon },
  emits: ["look", "submit"],
  data: () => ({ s, shown: false, over: false, text: "", files: [], values: { ...NOTHING }, check: null, number: 0, busy: false, error: "", field: null, refused: [], accepted: 0, more: 0, further: false, key: key(), priorities: PRIORITIES }),
  created() {
    const stops = [
      A.reads("add_open", () => this.open()),
      A.reads("add_look", (news) => {
        if (news.number === this.number) this.check = news;
      }),
      A.reads("add_done", (news) => this.done(news)),
    ];
    this.stop = () => stops.forEach((stop) => stop());
  },
  mounted() {
    addEventListener("paste", this.paste);
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) addEventListener(name, this.drag);
    if (new URLSearchParams(location.search).has("add")) {
      this.open();
      A.query({ add: null });
    }
  },
  unmounted() {
    this.stop();
    removeEventListener("paste", this.paste);
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) removeEventListener(name, this.drag);
  },
  computed: {
    nodes() {
      return Object.values(s.members).filter((m) => !m.witness).sort((a, b) => a.name.localeCompare(b.name));
    },
    count() {
      return (this.check ? this.check.links + this.check.magnets : 0) + this.files.filter((f) => f.token).length;
    },
    action() {
      return this.count > 1 ? t("add.action_many", { n: this.count }) : t("add.action");
    },
    duplicates() {
      return this.refused.some((one) => one.code === "duplicate");
    },
  },
  watch: {
    text() {
      this.number += 1;
      clearTimeout(this.timer);
      this.timer = setTimeout(this.look, 200);
      this.keep();
    },
    values: {
      deep: true,
      handler() {
        this.keep();
      },
    },
  },
  methods: {
    t,
    url,
    size: format.size,
    async open(text = "") {
      if (!this.shown) {
        this.recall();
        this.back = document.activeElement;
        this.shown = true;
        await this.$nextTick();
        this.$refs.dialog.showModal();
        this.$refs.text.focus();
      }
      if (text) this.text = [this.text.trimEnd(), text.trim()].filter(Boolean).join("\n");
      if (this.text && !this.check) this.look();
    },
    close() {
      this.shown = false;
      this.error = "";
      this.field = null;
      this.refused = [];
      this.back?.focus?.();
    },
    look() {
      if (this.shown) this.$emit("look", { number: this.number, text: this.text });
    },
    // A draft outlives a reload. What is secret is not kept: cookies and tokens stand in headers.
    keep() {
      try {
        const { headers, ...values } = this.values;
        if (this.text || JSON.stringify(values) !== JSON.stringify({ ...NOTHING, headers: undefined })) localStorage.setItem(DRAFT, JSON.stringify({ text: this.text.slice(0, 100000), values }));
        else localStorage.removeItem(DRAFT);
      } catch {
        // a browser that keeps nothing has no drafts
      }
    },
    recall() {
      if (this.text) return;
      try {
        const draft = JSON.parse(localStorage.getItem(DRAFT) || "null");
        if (draft) {
          this.text = draft.text || "";
          this.values = { ...NOTHING, ...draft.values, headers: this.values.headers };
        }
      } catch {
        // as above
      }
    },
    clear() {
      this.text = "";
      this.files = [];
      this.check = null;
      this.values = { ...NOTHING };
      this.key = key();
      this.keep();
    },
    paste(event) {
      const files = [...(event.clipboardData?.files || [])];
      if (files.length) {
        event.preventDefault();
        this.open().then(() => this.take(files));
        return;
      }
      const text = event.clipboardData?.getData("text/plain") || "";
      if (this.shown || writes(event.target) || document.querySelector("dialog[open]") || !LINK.test(text)) return;
      event.preventDefault();
      this.open(text);
    },
    drag(event) {
      const kinds = [...(event.dataTransfer?.types || [])];
      if (!kinds.includes("Files") && !kinds.includes("text/uri-list") && !kinds.includes("text/plain")) return;
      if (!kinds.includes("Files") && writes(event.target)) return;
      event.preventDefault();
      if (event.type === "dragover" || event.type === "dragenter") this.over = true;
      else if (event.type === "dragleave") this.over = !!event.relatedTarget;
      else {
        this.over = false;
        const files = [...event.dataTransfer.files];
        const text = event.dataTransfer.getData("text/uri-list") || event.dataTransfer.getData("text/plain");
        if (files.length) this.open().then(() => this.take(files));
        else if (LINK.test(text)) this.open(text);
      }
    },
    choose(event) {
      this.take([...event.target.files]);
      event.target.value = "";
    },
    async take(files) {
      for (const file of files.slice(0, 20)) {
        if (/\.(txt|list)$/i.test(file.name) || (file.type.startsWith("text/plain") && !/\.(torrent|metalink|meta4)$/i.test(file.name))) {
          const text = await file.slice(0, 400000).text();
          this.text = [this.text.trimEnd(), text.trim()].filter(Boolean).join("\n");
          continue;
        }
        this.files.push({ name: file.name, token: null, size: 0, kind: "", why: "" });
        const one = this.files[this.files.length - 1];
        try {
          const answer = await fetch(url("/ui/document"), { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
          const told = await answer.json();
          if (answer.ok) Object.assign(one, told);
          else one.why = told.detail;
        } catch {
          one.why = t("add.not_sent");
        }
      }
    },
    submit(force = false) {
      if (this.busy) return;
      this.busy = true;
      this.error = "";
      this.field = null;
      this.refused = [];
      const values = { ...this.values };
      if (values.not_before) values.not_before = new Date(values.not_before).toISOString();
      if (force) this.key = key();
      this.$emit("submit", { text: this.text, files: this.files.filter((f) => f.token).map((f) => f.token), values, force, key: this.key });
    },
    done(news) {
      this.busy = false;
      if (news.error) {
        this.error = news.error;
        this.field = news.field;
        this.key = key();
        this.point();
        return;
      }
      if (!news.refused.length) {
        this.clear();
        this.close();
        return;
      }
      this.key = key();
      this.text = news.left;
      const names = new Set(news.refused.map((one) => one.text));
      this.files = this.files.filter((f) => !f.token || names.has(f.name));
      this.refused = news.refused;
      this.accepted = news.accepted;
      this.more = news.more;
      this.$nextTick(() => this.$refs.refused?.scrollIntoView({ block: "nearest" }));
    },
    // To the field that is wrong, which may be folded away or out of sight.
    async point() {
      if (!BY_HAND.includes(this.field)) this.further = true;
      await this.$nextTick();
      const field = this.$refs.dialog?.querySelector(`[name="${CSS.escape(this.field || "")}"]`);
      field?.scrollIntoView({ block: "center" });
      field?.focus({ preventScroll: true });
    },
    keydown(event) {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.submit();
      }
    },
    outside(event) {
      if (event.target === this.$refs.dialog && !this.text && !this.files.length) this.close();
    },
  },
  template: `
<div class="ac-adder">
<div v-if="over" class="ac-drop-here" aria-hidden="true"><div><Icon name="file-up"/><b>{{ t('add.drop') }}</b></div></div>
<dialog v-if="shown" ref="dialog" class="ac-dialog ac-add-dialog" :aria-label="t('add.title')" @cancel.prevent="close" @pointerdown="outside" @keydown="keydown">
  <form method="dialog" @submit.prevent="submit()">
    <header><h2>{{ t('add.title') }}</h2><button type="button" class="ac-icon-button" :aria-label="t('close')" @click="close"><Icon name="x"/></button></header>
    <div class="ac-dialog-body">
      <label class="ac-field"><span>{{ t('add.links') }}</span>
        <textarea ref="text" v-model="text" name="text" :aria-invalid="field === 'text' ? 'true' : null" rows="6" class="ac-mono" spellcheck="false" autocomplete="off" autocapitalize="off" :placeholder="t('add.placeholder')" aria-describedby="ac-add-found"></textarea></label>
      <div id="ac-add-found" class="ac-add-found" aria-live="polite">
        <template v-if="check && text.trim()"><span v-if="check.links" class="ac-pill ac-tone-ok">{{ t('add.n_links', {n: check.links}) }}</span>
          <span v-if="check.magnets" class="ac-pill ac-tone-seeding">{{ t('add.n_magnets', {n: check.magnets}) }}</span>
          <span v-if="check.bad" class="ac-pill ac-tone-error">{{ t('add.n_bad', {n: check.bad}) }}</span></template>
        <small v-else class="ac-faint">{{ t('add.help') }}</small></div>
      <ul v-if="check && check.wrong.length && text.trim()" class="ac-add-wrong" tabindex="0" :aria-label="t('add.n_bad', {n: check.bad})"><li v-for="w in check.wrong" :key="w.line"><span class="ac-num">{{ w.line }}</span><bdi class="ac-mono ac-clip" :title="w.text">{{ w.text }}</bdi><small>{{ w.why }}</small></li></ul>
      <label class="ac-drop"><Icon name="file-up"/><span>{{ t('add.files') }} <u>{{ t('add.choose') }}</u></span><input type="file" multiple accept=".torrent,.metalink,.meta4,.txt" class="ac-visually-gone" @change="choose"></label>
      <ul v-if="files.length" class="ac-add-files"><li v-for="(f, i) in files" :key="i"><Icon :name="f.kind === 'torrent' ? 'magnet' : 'file-down'"/><bdi class="ac-clip">{{ f.name }}</bdi><small v-if="f.why" class="ac-danger">{{ f.why }}</small><small v-else class="ac-faint">{{ f.token ? (f.size ? size(f.size) : t('kind.' + f.kind)) : t('add.reading') }}</small><button type="button" class="ac-icon-button" :aria-label="t('add.forget', {name: f.name})" @click="files.splice(i, 1)"><Icon name="x"/></button></li></ul>
      <div class="ac-pair"><label class="ac-field"><span>{{ t('add.node') }}</span><select v-model="values.node" name="node" :aria-invalid="field === 'node' ? 'true' : null"><option value="">{{ t('add.any_node') }}</option><option v-for="n in nodes" :key="n.id" :value="n.id">{{ n.name }}</option></select></label>
        <label class="ac-field"><span>{{ t('task.priority') }}</span><select v-model="values.priority" name="priority"><option v-for="p in priorities" :key="p" :value="p">{{ t('priority.' + p) }}</option></select></label></div>
      <button type="button" class="ac-add-further" :aria-expanded="further ? 'true' : 'false'" @click="further = !further"><Icon :name="further ? 'chevron-down' : 'chevron-right'"/>{{ t('add.further') }}</button>
      <template v-if="further">
        <div class="ac-pair"><label class="ac-field"><span>{{ t('add.tags') }}</span><input v-model="values.tags" name="tags" :aria-invalid="field === 'tags' ? 'true' : null" placeholder="gpu=yes" autocomplete="off" spellcheck="false"><small>{{ t('add.tags_help') }}</small></label>
          <label class="ac-field"><span>{{ t('add.prefer') }}</span><input v-model="values.prefer_tags" name="prefer_tags" :aria-invalid="field === 'prefer_tags' ? 'true' : null" placeholder="disk=ssd" autocomplete="off" spellcheck="false"><small>{{ t('add.prefer_help') }}</small></label></div>
        <div class="ac-pair"><label class="ac-field"><span>{{ t('add.dir') }}</span><input v-model="values.dir" name="dir" :aria-invalid="field === 'dir' ? 'true' : null" placeholder="isos/debian" autocomplete="off" spellcheck="false"><small>{{ t('add.dir_help') }}</small></label>
          <label class="ac-field"><span>{{ t('add.not_before') }}</span><input v-model="values.not_before" name="not_before" :aria-invalid="field === 'not_before' ? 'true' : null" type="datetime-local"><small>{{ t('add.not_before_help') }}</small></label></div>
        <label class="ac-field"><span>{{ t('add.checksum') }}</span><input v-model="values.checksum" name="checksum" :aria-invalid="field === 'checksum' ? 'true' : null" placeholder="sha-256=…" class="ac-mono" autocomplete="off" spellcheck="false"><small>{{ t('add.checksum_help') }}</small></label>
        <label class="ac-field"><span>{{ t('add.headers') }}</span><textarea v-model="values.headers" name="headers" :aria-invalid="field === 'headers' ? 'true' : null" rows="2" class="ac-mono" placeholder="Cookie: …" autocomplete="off" spellcheck="false"></textarea><small>{{ t('add.headers_help') }}</small></label>
      </template>
      <div v-if="refused.length" ref="refused" class="ac-add-refused" role="alert"><b>{{ accepted ? t('add.done', {n: accepted}) + '. ' : '' }}{{ t('add.refused', {n: refused.length + more}) }}</b>
        <ul><li v-for="(one, i) in refused" :key="i"><bdi class="ac-mono ac-clip" :title="one.text">{{ one.text }}</bdi><small>{{ one.why }} <a v-if="one.task" :href="url('/tasks/' + one.task)" @click="close">{{ t('add.show_it') }}</a></small></li></ul>
        <button v-if="duplicates" type="button" class="ac-button" :disabled="busy" @click="submit(true)"><Icon name="copy"/>{{ t('add.anyway') }}</button></div>
    </div>
    <footer><p v-if="error" class="ac-refusal ac-add-error" role="alert"><Icon name="circle-alert"/><span>{{ error }}</span></p>
      <label class="ac-check"><input type="checkbox" v-model="values.paused" name="paused"><span>{{ t('add.paused') }}</span></label>
      <button type="button" class="ac-button ac-quiet" @click="close">{{ t('cancel') }}</button>
      <button type="submit" class="ac-button ac-primary" :disabled="busy || !(text.trim() || count)"><Icon name="download"/>{{ action }}</button></footer>
  </form>
</dialog>
</div>`,
};
