// The list of downloads: which of them, in what order and from where on is in the URL; the node is asked for one page at a time.
import { A, s, t, url, format, spark, params, query, Icon, NodeChip } from "ariacluster";

const TABS = { all: [], downloading: ["downloading"], waiting: ["pending", "queued"], paused: ["paused"], completed: ["completed"], failed: ["failed"], canceled: ["canceled"] };
const ICONS = { pause: "pause", resume: "play", retry: "rotate-ccw", cancel: "ban", remove: "trash-2", open: "eye", copy: "copy" };
const KINDS = { magnet: "magnet", torrent: "magnet", metalink: "link" };
const PAGE = 50;
const SPARK = 40;
const VERBS = ["resume", "pause", "retry", "cancel", "remove"];
const VIEW = ["show", "q", "node", "tag", "sort", "page"];
const writes = (at) => at?.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");

export default {
  components: { Icon, NodeChip },
  emits: ["view", "order"],
  data: () => ({ s, tabs: Object.keys(TABS), rows: [], total: 0, first: 0, asked: false, loading: false, error: "", number: 0, chosen: new Set(), everything: false, at: -1, anchor: -1, typed: params().get("q") || "", sparks: {}, menu: null, help: false }),
  created() {
    const stops = [A.reads("tasks_page", (news) => this.take(news)), A.reads("tasks_rows", (news) => this.freshen(news.rows))];
    this.stop = () => stops.forEach((stop) => stop());
  },
  mounted() {
    addEventListener("keydown", this.key);
    addEventListener("pointerdown", this.away);
    this.ask();
    if (params().get("focus") === "search") {
      query({ focus: null });
      this.$nextTick(() => this.$refs.search?.focus());
    }
  },
  unmounted() {
    this.stop();
    clearTimeout(this.timer);
    removeEventListener("keydown", this.key);
    removeEventListener("pointerdown", this.away);
  },
  computed: {
    show: () => (TABS[params().get("show")] ? params().get("show") : "all"),
    sort: () => params().get("sort") || "-created",
    node: () => params().get("node") || "",
    tag: () => params().get("tag") || "",
    q: () => params().get("q") || "",
    page: () => Math.max(1, parseInt(params().get("page") || "1", 10) || 1),
    view() {
      return JSON.stringify(VIEW.map((name) => params().get(name) || ""));
    },
    counts() {
      const counts = s.glance.counts || {};
      return Object.fromEntries(this.tabs.map((tab) => [tab, tab === "all" ? s.glance.tasks || 0 : TABS[tab].reduce((sum, state) => sum + (counts[state] || 0), 0)]));
    },
    nodes() {
      return Object.values(s.members).filter((m) => !m.witness).sort((a, b) => a.name.localeCompare(b.name));
    },
    narrowed() {
      return !!(this.q || this.node || this.tag || this.show !== "all");
    },
    pages() {
      return Math.max(1, Math.ceil(this.total / PAGE));
    },
    count() {
      return this.everything ? this.total : this.chosen.size;
    },
    whole() {
      return this.rows.length > 0 && this.rows.every((r) => this.chosen.has(r.id));
    },
    // What makes sense for at least one of those that are chosen and known.
    verbs() {
      if (this.everything) return VERBS;
      const all = new Set(this.rows.filter((r) => this.chosen.has(r.id)).flatMap((r) => r.orders));
      return VERBS.filter((verb) => all.has(verb));
    },
  },
  watch: {
    view() {
      this.ask();
    },
    "s.online"(now) {
      if (now) this.ask();
    },
  },
  methods: {
    t,
    url,
    speed: format.speed,
    size: format.size,
    percent: format.percent,
    number_: format.count,
    icon: (verb) => ICONS[verb],
    kind: (r) => KINDS[r.kind] || "globe",
    eta: (r) => (r.status === "downloading" ? format.eta(r.done, r.total, r.speed) : ""),
    line(r) {
      return spark(this.sparks[r.id] || [0], 40, 16, { least: 8 });
    },
    meta(r) {
      if (r.why) return r.why;
      return r.status === "downloading" && r.connections ? t("tasks.connections", { n: r.connections }) : "";
    },
    short(r) {
      return [r.total ? format.size(r.total) : "", r.status === "downloading" ? format.speed(r.speed) : "", this.eta(r)].filter((text) => text && text !== "—").join(" · ");
    },
    go(changes) {
      this.unchoose();
      query({ page: null, ...changes });
    },
    ask() {
      this.number += 1;
      this.loading = true;
      this.error = "";
      const view = Object.fromEntries(VIEW.map((name) => [name, params().get(name)]));
      this.$emit("view", { ...view, number: this.number });
    },
    take(news) {
      if (news.number !== this.number) return;
      this.loading = false;
      this.asked = true;
      if (news.error) {
        this.error = news.error;
        return;
      }
      this.total = news.total;
      this.first = news.first;
      this.rows = news.rows;
      if (this.first >= this.total && this.total > 0) query({ page: this.pages === 1 ? null : this.pages });
      this.measure();
    },
    freshen(news) {
      const known = new Map(this.rows.map((row) => [row.id, row]));
      for (const fresh of news) {
        const row = known.get(fresh.id);
        if (row) Object.assign(row, fresh);
      }
      this.measure();
    },
    measure() {
      const kept = {};
      for (const row of this.rows) {
        const points = [...(this.sparks[row.id] || []), row.speed];
        kept[row.id] = points.slice(-SPARK);
      }
      this.sparks = kept;
    },
    type() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        if (this.typed !== this.q) this.go({ q: this.typed });
      }, 250);
    },
    leaf(changes) {
      this.unchoose();
      query(changes);
      scrollTo({ top: 0, behavior: s.calm ? "auto" : "smooth" });
    },
    order(column) {
      this.go({ sort: this.sort === column ? `-${column}` : this.sort === `-${column}` ? null : column });
    },
    sorted(column) {
      return this.sort === column ? "ascending" : this.sort === `-${column}` ? "descending" : "none";
    },
    // -- choosing
    choose(index, event) {
      const id = this.rows[index]?.id;
      if (!id) return;
      const chosen = new Set(this.chosen);
      const on = !chosen.has(id);
      const from = event?.shiftKey && this.anchor >= 0 ? this.anchor : index;
      for (let i = Math.min(from, index); i <= Math.max(from, index); i += 1) {
        if (on) chosen.add(this.rows[i].id);
        else chosen.delete(this.rows[i].id);
      }
      this.chosen = chosen;
      this.everything = false;
      this.anchor = index;
    },
    chooseAll() {
      this.chosen = this.whole ? new Set() : new Set(this.rows.map((r) => r.id));
      this.everything = false;
    },
    unchoose() {
      this.chosen = new Set();
      this.everything = false;
      this.anchor = -1;
    },
    say(verb, ids = null) {
      const all = ids === null && this.everything;
      const named = ids || [...this.chosen];
      if (!all && !named.length) return;
      if (!all) this.guess(verb, new Set(named));
      this.$emit("order", { verb, ids: all ? [] : named, all });
      if (ids === null) this.unchoose();
      this.menu = null;
    },
    // Shown at once; the next tick knows better.
    guess(verb, ids) {
      if (verb === "remove") {
        this.rows = this.rows.filter((r) => !ids.has(r.id));
        return;
      }
      const looks = { pause: ["paused", "pause", "warn"], resume: ["pending", "clock", "plain"], retry: ["pending", "clock", "plain"], cancel: ["canceled", "ban", "plain"] };
      for (const row of this.rows) {
        if (ids.has(row.id) && row.orders.includes(verb)) {
          [row.status, row.icon, row.tone] = looks[verb];
          row.speed = 0;
        }
      }
    },
    open(row) {
      A.go(`/tasks/${row.id}`);
    },
    press(row, index, event) {
      if (event.target.closest("a, button, input, label")) return;
      if (event.ctrlKey || event.metaKey || event.shiftKey || this.count) this.choose(index, event);
      else this.open(row);
    },
    async context(row, event) {
      event.preventDefault();
      this.menu = { row, x: Math.min(event.clientX, innerWidth - 220), y: Math.min(event.clientY, innerHeight - 260) };
      await this.$nextTick();
      this.$refs.menu?.querySelector("button")?.focus();
    },
    away(event) {
      if (this.menu && !this.$refs.menu?.contains(event.target)) this.menu = null;
    },
    pick(verb) {
      const { row } = this.menu;
      this.menu = null;
      if (verb === "open") this.open(row);
      else this.say(verb, [row.id]);
    },
    key(event) {
      if (document.querySelector("dialog[open]")) return;
      if (event.key === "Escape") {
        if (this.menu || this.help) {
          this.menu = null;
          this.help = false;
        } else if (writes(event.target)) event.target.blur();
        else this.unchoose();
        return;
      }
      if (writes(event.target)) return;
      if ((event.ctrlKey || event.metaKey) && event.key === "a") {
        event.preventDefault();
        this.chosen = new Set(this.rows.map((r) => r.id));
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const row = this.rows[this.at];
      const targets = this.count ? null : row ? [row.id] : [];
      const acts = {
        "/": () => this.$refs.search.focus(),
        "?": () => (this.help = !this.help),
        j: () => this.move(1),
        k: () => this.move(-1),
        ArrowDown: () => this.move(1),
        ArrowUp: () => this.move(-1),
        x: () => row && this.choose(this.at, event),
        p: () => this.toggle(targets),
        Delete: () => this.say("remove", targets),
        Enter: () => row && event.target === document.body && this.open(row),
      };
      const act = acts[event.key];
      if (!act) return;
      if (event.key !== "Enter") event.preventDefault();
      act();
    },
    move(by) {
      this.at = Math.max(0, Math.min(this.rows.length - 1, this.at + by));
      this.$nextTick(() => this.$el.querySelector?.(".ac-at")?.scrollIntoView({ block: "nearest" }));
    },
    toggle(targets) {
      const ids = targets || [...this.chosen];
      const rows = this.rows.filter((r) => ids.includes(r.id));
      const verb = rows.some((r) => r.orders.includes("pause")) ? "pause" : "resume";
      this.say(verb, targets);
    },
  },
  template: `
<div class="ac-tasks">
  <div class="ac-toolbar">
    <div class="ac-filters" role="group" :aria-label="t('tasks.filter')">
      <template v-for="f in tabs" :key="f"><button v-if="f === 'all' || f === 'downloading' || counts[f] || f === show" type="button" class="ac-filter" :aria-pressed="show === f ? 'true' : 'false'" @click="go({show: f === 'all' ? null : f})">{{ t('tasks.show.' + f) }}<small>{{ number_(counts[f]) }}</small></button></template>
    </div>
    <div class="ac-toolbar-end">
      <label v-if="nodes.length > 1" class="ac-pick"><span class="ac-visually-gone">{{ t('tasks.node') }}</span><select class="ac-input" :value="node" @change="go({node: $event.target.value})"><option value="">{{ t('tasks.any_node') }}</option><option v-for="n in nodes" :key="n.id" :value="n.name">{{ n.name }}</option></select></label>
      <label class="ac-search"><Icon name="search"/><input ref="search" data-ac-search class="ac-input" type="search" v-model="typed" :placeholder="t('tasks.search')" :aria-label="t('tasks.search')" @input="type"><kbd class="ac-wide">/</kbd></label>
    </div>
  </div>
  <p v-if="tag" class="ac-told"><span class="ac-tag"><Icon name="tag"/><bdi>{{ tag }}</bdi><button type="button" class="ac-untag" :aria-label="t('tasks.untag')" @click="go({tag: null})"><Icon name="x"/></button></span></p>
  <div class="ac-card ac-task-table" role="table" :aria-label="t('nav.tasks')" :aria-busy="loading ? 'true' : 'false'" :aria-rowcount="total">
    <div class="ac-tr ac-th" role="row">
      <span role="columnheader"><input type="checkbox" :checked="whole" :indeterminate.prop="!whole && count > 0" :aria-label="t('tasks.choose_page')" @change="chooseAll"></span>
      <span role="columnheader" :aria-sort="sorted('name')"><button type="button" @click="order('name')">{{ t('tasks.col.name') }}<Icon v-if="sorted('name') !== 'none'" :name="sorted('name') === 'ascending' ? 'arrow-up' : 'arrow-down'"/></button></span>
      <span role="columnheader" :aria-sort="sorted('status')"><button type="button" @click="order('status')">{{ t('tasks.col.status') }}<Icon v-if="sorted('status') !== 'none'" :name="sorted('status') === 'ascending' ? 'arrow-up' : 'arrow-down'"/></button></span>
      <span role="columnheader" :aria-sort="sorted('progress')"><button type="button" @click="order('progress')">{{ t('tasks.col.progress') }}<Icon v-if="sorted('progress') !== 'none'" :name="sorted('progress') === 'ascending' ? 'arrow-up' : 'arrow-down'"/></button></span>
      <span role="columnheader" class="ac-right" :aria-sort="sorted('speed')"><button type="button" @click="order('speed')">{{ t('tasks.col.speed') }}<Icon v-if="sorted('speed') !== 'none'" :name="sorted('speed') === 'ascending' ? 'arrow-up' : 'arrow-down'"/></button></span>
      <span role="columnheader" class="ac-right">{{ t('tasks.col.eta') }}</span>
      <span role="columnheader">{{ t('tasks.col.node') }}</span>
      <span role="columnheader" class="ac-right" :aria-sort="sorted('size')"><button type="button" @click="order('size')">{{ t('tasks.col.size') }}<Icon v-if="sorted('size') !== 'none'" :name="sorted('size') === 'ascending' ? 'arrow-up' : 'arrow-down'"/></button></span>
      <span role="columnheader"><span class="ac-visually-gone">{{ t('tasks.col.orders') }}</span></span>
    </div>
    <div v-for="(r, i) in rows" :key="r.id" role="row" :class="['ac-tr', chosen.has(r.id) && 'ac-chosen-row', i === at && 'ac-at']" @click="press(r, i, $event)" @contextmenu="context(r, $event)">
      <span role="cell" class="ac-td-check"><input type="checkbox" :checked="everything || chosen.has(r.id)" :aria-label="t('tasks.choose', {name: r.name})" @click.stop="choose(i, $event)"></span>
      <span role="cell" class="ac-td-name"><span class="ac-kind"><Icon :name="kind(r)"/></span><span class="ac-td-text"><a class="ac-clip" :href="url('/tasks/' + r.id)" :title="r.name"><bdi>{{ r.name }}</bdi></a>
        <small class="ac-td-meta"><span v-if="r.priority !== 'normal'" class="ac-tag"><Icon name="zap"/>{{ t('priority.' + r.priority) }}</span><button v-for="one in r.tags.slice(0, 2)" :key="one" type="button" class="ac-tag" :title="t('tasks.only_tag', {tag: one})" @click="go({tag: one})"><bdi class="ac-clip">{{ one }}</bdi></button><span class="ac-phone-only">{{ short(r) }}</span><span v-if="meta(r)" :class="['ac-clip', r.status === 'failed' && 'ac-danger']" :title="meta(r)">{{ meta(r) }}</span></small></span></span>
      <span role="cell" class="ac-td-status"><span :class="'ac-pill ac-tone-' + r.tone"><Icon :name="r.icon"/><span class="ac-pill-text">{{ t('state.' + r.status) }}</span></span></span>
      <span role="cell" class="ac-td-progress"><span :class="'ac-bar ac-tone-' + (r.status === 'downloading' ? 'accent' : r.tone)"><i :style="{width: r.pct + '%'}"></i></span><span class="ac-num">{{ r.total || r.pct ? percent(r.pct) : '—' }}</span></span>
      <span role="cell" class="ac-td-speed ac-right"><template v-if="r.status === 'downloading'"><svg class="ac-mini" viewBox="0 0 40 16" preserveAspectRatio="none" aria-hidden="true"><path :d="line(r).line"/></svg><b class="ac-num">{{ speed(r.speed) }}</b></template></span>
      <span role="cell" class="ac-td-eta ac-right ac-num">{{ eta(r) }}</span>
      <span role="cell" class="ac-td-node"><NodeChip v-if="r.node" :id="r.node" link/></span>
      <span role="cell" class="ac-td-size ac-right ac-num">{{ r.total ? size(r.total) : '—' }}</span>
      <span role="cell" class="ac-td-do"><button v-for="verb in r.orders.filter((v) => ['pause', 'resume', 'retry', 'remove'].includes(v))" :key="verb" type="button" class="ac-icon-button" :aria-label="t('task.do.' + verb) + ': ' + r.name" :title="t('task.do.' + verb)" @click.stop="say(verb, [r.id])"><Icon :name="icon(verb)"/></button></span>
    </div>
    <div v-if="error" class="ac-empty"><Icon name="circle-alert"/><b>{{ t('tasks.not_read') }}</b><p>{{ error }}</p><button type="button" class="ac-button" @click="ask">{{ t('tasks.again') }}</button></div>
    <div v-else-if="asked && !rows.length && narrowed" class="ac-empty"><Icon name="search"/><b>{{ t('tasks.none') }}</b><p>{{ t('tasks.none_text') }}</p><button type="button" class="ac-button" @click="typed = ''; go({show: null, q: null, node: null, tag: null})">{{ t('nodes.clear') }}</button></div>
    <div v-else-if="asked && !rows.length" class="ac-empty"><Icon name="download"/><b>{{ t('fast.empty') }}</b><p>{{ t('fast.empty_text') }}</p><code class="ac-code">{{ t('tasks.example') }}</code></div>
    <div v-else-if="!asked" class="ac-bones ac-list-bones"></div>
  </div>
  <nav v-if="total > 50 || page > 1" class="ac-pager" :aria-label="t('tasks.pages')"><span class="ac-muted ac-num">{{ t('tasks.range', {from: first + 1, to: first + rows.length, n: total}) }}</span>
    <button type="button" class="ac-button" :disabled="page <= 1" :aria-label="t('tasks.before')" @click="leaf({page: page > 2 ? page - 1 : null})"><Icon name="chevron-left"/></button>
    <button type="button" class="ac-button" :disabled="page >= pages" :aria-label="t('tasks.after')" @click="leaf({page: page + 1})"><Icon name="chevron-right"/></button></nav>
  <Transition name="ac-bulk"><div v-if="count" class="ac-bulk" role="toolbar" :aria-label="t('tasks.bulk')">
    <b class="ac-num">{{ t('tasks.chosen', {n: count}) }}</b>
    <button v-if="whole && !everything && total > rows.length" type="button" class="ac-button ac-quiet ac-all" @click="everything = true">{{ t('tasks.choose_all', {n: total}) }}</button>
    <button v-for="verb in verbs" :key="verb" type="button" :class="['ac-button', 'ac-quiet', verb === 'remove' && 'ac-danger']" @click="say(verb)"><Icon :name="icon(verb)"/><span>{{ t('task.do.' + verb) }}</span></button>
    <button type="button" class="ac-icon-button" :aria-label="t('tasks.unchoose')" @click="unchoose"><Icon name="x"/></button></div></Transition>
  <div v-if="menu" ref="menu" class="ac-menu-list ac-context" role="menu" :style="{left: menu.x + 'px', top: menu.y + 'px'}">
    <button type="button" role="menuitem" @click="pick('open')"><Icon name="eye"/>{{ t('tasks.open') }}</button>
    <button v-for="verb in menu.row.orders" :key="verb" type="button" role="menuitem" :class="verb === 'remove' && 'ac-danger'" @click="pick(verb)"><Icon :name="icon(verb)"/>{{ t('task.do.' + verb) }}</button></div>
  <div v-if="help" class="ac-card ac-keys" role="note"><h2>{{ t('keys.title') }}</h2><dl><template v-for="k in ['search', 'add', 'move', 'choose', 'all', 'pause', 'remove', 'open', 'go', 'help']" :key="k"><dt><kbd>{{ t('keys.' + k) }}</kbd></dt><dd>{{ t('keys.' + k + '.text') }}</dd></template></dl></div>
</div>`,
};
