// One download: progress, pieces, files, links, and its story across the nodes.
import { A, s, t, url, format, spark, around, colour, nodeName, toast, Icon, NodeChip, Menu } from "ariacluster";

const AT_HAND = 2;
const FEW = 12;
const SPAN = 120;

export default {
  components: { Icon, NodeChip, Menu },
  props: { icons: Object },
  emits: ["act", "ready"],
  data: () => ({ s, r: null, live: null, story: null, speeds: [], gone: false, allFiles: false, allLinks: false, deaf: 0, few: FEW }),
  created() {
    const stops = [
      A.reads("task", (news) => {
        this.r = news.row;
        if (news.row.status !== "downloading") this.live = null;
      }),
      A.reads("task_live", (news) => {
        this.live = news.row.running ? news.row : null;
      }),
      A.reads("task_story", (news) => {
        this.story = news.rows;
      }),
      A.reads("task_gone", () => {
        this.gone = true;
      }),
    ];
    this.stop = () => stops.forEach((stop) => stop());
  },
  mounted() {
    this.$emit("ready");
  },
  unmounted() {
    this.stop();
  },
  watch: {
    // A point a second, whether or not the speed is another one.
    "s.n"() {
      if (!this.r) {
        this.deaf += 1;
        if (this.deaf % 3 === 0) this.$emit("ready");
        return;
      }
      this.speeds.push(this.r.speed);
      if (this.speeds.length > SPAN) this.speeds.shift();
    },
  },
  computed: {
    line() {
      const points = this.speeds.length ? this.speeds : [0];
      const width = (600 * (points.length - 1)) / (SPAN - 1);
      return { ...spark(points, width, 72, { least: 1 }), shift: 600 - width };
    },
    // What stands beside the advice already is not said twice.
    said() {
      return this.r.orders.filter((verb) => verb !== this.advice?.verb);
    },
    atHand() {
      return this.said.slice(0, AT_HAND);
    },
    further() {
      const rest = this.said.slice(AT_HAND).map((id) => ({ id, text: t(`task.do.${id}`), icon: this.icons[id], danger: id === "remove", line: id === "remove" }));
      return [{ id: "copy", text: t("task.do.copy"), icon: "copy" }, ...rest];
    },
    size() {
      const { done, total, status } = this.r;
      if (status === "completed") return format.size(total);
      return total ? `${format.size(done)} ${t("of", { size: format.size(total) })}` : format.size(done);
    },
    facts() {
      const r = this.r;
      const when = (at) => new Date(at * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
      const all = [
        { name: t("task.id"), text: r.id, mono: true },
        { name: t("task.kind"), text: t(`kind.${r.kind}`) },
        { name: t("task.priority"), text: t(`priority.${r.priority}`) },
        { name: t("task.attempt"), text: r.attempt ? t("task.attempt_of", { attempt: r.attempt, most: r.max_attempts }) : "—" },
        { name: t("task.folder"), text: r.dir || t("task.folder_top"), mono: !!r.dir },
        { name: t("task.added"), text: when(r.created), title: new Date(r.created * 1000).toISOString() },
        { name: t("task.changed"), text: t("ago", { time: format.ago(s.now - r.updated) }) },
      ];
      if (r.pinned) all.push({ name: t("task.pinned"), text: r.pinned });
      if (r.not_before && r.not_before > s.now) all.push({ name: t("task.not_before"), text: when(r.not_before) });
      if (r.checksum) all.push({ name: t("task.checksum"), text: r.checksum, mono: true });
      if (r.hash) all.push({ name: t("task.hash"), text: r.hash, mono: true });
      for (const name of r.headers) all.push({ name: t("task.secret"), text: name });
      for (const [key, value] of r.options) all.push({ name: key, text: value, mono: true });
      return all;
    },
    files() {
      if (this.live?.files.length) return this.live.files.map(([path, length, done, selected]) => ({ path, length, pct: length ? Math.min(100, (100 * done) / length) : 0, selected }));
      return this.r.files.map(([path, length]) => ({ path, length, pct: 100, selected: true }));
    },
    servers() {
      const speeds = new Map(this.live?.servers || []);
      const links = this.r.links.map((link) => ({ link, speed: speeds.get(link) }));
      const known = new Set(this.r.links);
      const others = [...speeds].filter(([uri]) => !known.has(uri)).map(([link, speed]) => ({ link, speed }));
      // Those that give bytes are not to be hidden below many that do not.
      const all = [...links, ...others];
      return all.length > FEW ? [...all.filter((one) => one.speed), ...all.filter((one) => !one.speed)] : all;
    },
    fileCount() {
      return this.live?.files.length ? this.live.file_count : this.r.file_count;
    },
    // What stands in its way, and what a person can do about it.
    advice() {
      const r = this.r;
      if (r.status !== "failed") return null;
      if (r.needs_link) return { text: t("task.advice.link"), verb: "relink" };
      return { text: t("task.advice.retry"), verb: "retry" };
    },
  },
  methods: {
    t,
    url,
    around,
    colour,
    nodeName,
    number: format.count,
    sizeOf: format.size,
    percent: format.percent,
    speed: format.speed,
    eta: (r) => format.eta(r.done, r.total, r.speed),
    ago: (at) => format.ago(Math.max(0, s.now - at)),
    safe: (link) => /^(https?|ftp|sftp):/i.test(link),
    async pick(verb) {
      if (verb !== "copy") return this.$emit("act", { verb });
      try {
        await navigator.clipboard.writeText(this.r.links.join("\n"));
        toast({ text: t("task.copied"), tone: "ok" });
      } catch {
        toast({ text: t("task.not_copied"), tone: "error" });
      }
      return undefined;
    },
  },
  template: `
<div v-if="gone" class="ac-card ac-empty"><Icon name="trash-2"/><b>{{ t('task.gone') }}</b><p>{{ t('task.gone_text') }}</p><a class="ac-button" :href="url('/tasks')">{{ t('task.all') }}</a></div>
<div v-else-if="!r" class="ac-bones ac-task-bones"></div>
<div v-else class="ac-task"><div class="ac-task-main">
  <section class="ac-card ac-task-hero" :aria-label="t('task.progress')">
    <div class="ac-task-top">
      <span class="ac-tags"><span :class="'ac-pill ac-tone-' + r.tone"><Icon :name="r.icon"/>{{ t('state.' + r.status) }}</span>
        <span v-if="r.priority !== 'normal'" class="ac-tag"><Icon name="zap"/>{{ t('priority.' + r.priority) }}</span>
        <span v-for="tag in r.tags" :key="tag" class="ac-tag"><Icon name="tag"/><bdi class="ac-clip">{{ tag }}</bdi></span></span>
      <span class="ac-task-do">
        <button v-for="verb in atHand" :key="verb" type="button" :class="['ac-button', verb === 'remove' && 'ac-danger']" @click="pick(verb)"><Icon :name="icons[verb]"/>{{ t('task.do.' + verb) }}</button>
        <Menu :items="further" :label="t('task.menu')" @pick="pick"/></span>
    </div>
    <div class="ac-task-now">
      <b v-if="r.total || r.status === 'completed'" class="ac-task-pct ac-num">{{ percent(r.pct) }}</b><b v-else class="ac-task-pct ac-unknown">{{ t('task.unknown') }}</b>
      <span v-if="r.total || r.done" class="ac-muted ac-num">{{ size }}</span>
      <span class="ac-task-speed"><template v-if="r.status === 'downloading' && r.speed >= 1"><b class="ac-num">{{ speed(r.speed) }}</b><small v-if="eta(r) !== '—'">{{ t('task.left', {time: eta(r)}) }}</small></template><small v-else-if="r.status === 'downloading'">{{ t('task.nothing_comes') }}</small>
        <NodeChip v-if="r.node" :id="r.node" link/></span>
    </div>
    <div :class="'ac-bar ac-tone-' + (r.status === 'downloading' ? 'accent' : r.tone)" role="progressbar" :aria-label="t('task.progress')" aria-valuemin="0" aria-valuemax="100" :aria-valuenow="Math.floor(r.pct)"><i :style="{width: r.pct + '%'}"></i></div>
    <div v-if="advice" class="ac-task-error" role="status"><Icon name="circle-alert"/><div><p>{{ r.error || r.reason }}</p><small>{{ advice.text }}</small></div>
      <button type="button" class="ac-button ac-primary" @click="pick(advice.verb)"><Icon :name="icons[advice.verb]"/>{{ t('task.do.' + advice.verb) }}</button></div>
    <p v-else-if="r.reason" class="ac-task-why"><Icon name="info"/><span><b v-if="r.here">{{ t('task.why_here') }}</b> {{ r.reason }}</span></p>
    <template v-if="r.status === 'downloading' && r.speed >= 1"><h2>{{ t('task.speed') }} <small>{{ t('task.speed_span') }}</small></h2>
      <svg class="ac-task-line" viewBox="0 0 600 72" preserveAspectRatio="none" aria-hidden="true"><g :transform="'translate(' + line.shift + ')'"><path :d="line.area"/><path :d="line.line"/></g></svg></template>
    <template v-if="live && live.cells"><h2>{{ t('task.pieces') }} <small>{{ t('task.pieces_of', {n: live.pieces, size: sizeOf(live.piece_length)}) }}</small></h2>
      <div class="ac-pieces" role="img" :aria-label="t('task.pieces_label', {percent: Math.floor(r.pct)})"><i v-for="(c, i) in live.cells" :key="i" :class="'ac-piece-' + c"></i></div></template>
  </section>
  <section class="ac-card ac-task-files"><div class="ac-card-head"><h2>{{ t('task.files') }}</h2><small v-if="fileCount > 1">{{ fileCount > files.length ? t('task.files_more', {shown: files.length, n: fileCount}) : number(fileCount) }}</small></div>
    <ul v-if="files.length" class="ac-list"><li v-for="f in (allFiles ? files : files.slice(0, few))" :key="f.path" :class="['ac-file', !f.selected && 'ac-unselected']"><Icon name="file-down"/><bdi class="ac-clip" :title="f.path">{{ f.path }}</bdi><span class="ac-num ac-muted">{{ !f.selected ? t('task.unselected') : f.pct < 100 && f.length ? t('task.file_part', {percent: percent(f.pct), size: sizeOf(f.length)}) : f.length ? sizeOf(f.length) : '' }}</span></li></ul>
    <button v-if="files.length > few" type="button" class="ac-fold" :aria-expanded="allFiles ? 'true' : 'false'" @click="allFiles = !allFiles">{{ allFiles ? t('task.fewer') : t('task.all_of', {n: files.length}) }}</button>
    <p v-if="!files.length" class="ac-task-note">{{ t('task.files_none') }}</p>
    <template v-if="servers.length"><div class="ac-card-head"><h2>{{ t('task.links') }}</h2><small v-if="servers.length > 1">{{ number(servers.length) }}</small></div>
    <ul class="ac-list"><li v-for="l in (allLinks ? servers : servers.slice(0, few))" :key="l.link" class="ac-file"><Icon :name="r.kind === 'magnet' || r.kind === 'torrent' ? 'magnet' : 'globe'"/><a v-if="safe(l.link)" class="ac-clip ac-mono" :href="l.link" target="_blank" rel="noopener noreferrer" :title="l.link"><bdi>{{ l.link }}</bdi></a><bdi v-else class="ac-clip ac-mono" :title="l.link">{{ l.link }}</bdi><span class="ac-num ac-muted">{{ l.speed ? speed(l.speed) : '' }}</span></li></ul>
    <button v-if="servers.length > few" type="button" class="ac-fold" :aria-expanded="allLinks ? 'true' : 'false'" @click="allLinks = !allLinks">{{ allLinks ? t('task.fewer') : t('task.all_of', {n: servers.length}) }}</button></template></section>
  <section v-if="r.failures.length" class="ac-card ac-task-failures"><div class="ac-card-head"><h2>{{ t('task.failures') }}</h2></div>
    <ul class="ac-list"><li v-for="f in r.failures" :key="f.attempt + ':' + f.at" class="ac-failure"><span class="ac-tile ac-tone-error"><Icon name="x"/></span><p><b>{{ t('task.failed_attempt', {attempt: f.attempt, node: f.place}) }}</b><span>{{ f.text }}</span><small v-if="f.code" class="ac-faint">{{ t('task.aria2_code', {code: f.code}) }}</small></p><time>{{ ago(f.at) }}</time></li></ul></section>
  </div><div class="ac-task-side">
  <section class="ac-card ac-task-facts"><div class="ac-card-head"><h2>{{ t('task.facts') }}</h2></div>
    <dl class="ac-facts"><div v-for="(f, i) in facts" :key="i"><dt>{{ f.name }}</dt><dd :class="['ac-three', f.mono && 'ac-mono']" :title="f.title || f.text">{{ f.text }}</dd></div></dl></section>
  <section class="ac-card ac-task-story" tabindex="0" :aria-label="t('task.story')"><div class="ac-card-head"><h2>{{ t('task.story') }}</h2></div>
    <ul v-if="story && story.length" class="ac-list"><li v-for="e in story" :key="e.seq"><div class="ac-feed-row"><span :class="'ac-tile ac-tone-' + e.tone"><Icon :name="e.icon"/></span>
      <p><template v-for="(part, i) in around(e.text, e.strong)"><b v-if="i === 1 && part"><bdi>{{ part }}</bdi></b><template v-else>{{ part }}</template></template><small v-if="e.who" class="ac-faint"> · {{ t('activity.who', {who: e.who}) }}</small></p>
      <time :datetime="new Date(e.at * 1000).toISOString()" :title="new Date(e.at * 1000).toLocaleString('en-GB')">{{ ago(e.at) }}</time></div></li></ul>
    <div v-else-if="story" class="ac-empty"><p>{{ t('task.story_none') }}</p></div><div v-else class="ac-bones"></div></section>
  </div>
</div>`,
};
