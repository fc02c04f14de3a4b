// The list of downloads: which of them, in what order and from where on is in the URL; the node is asked for one page at a time.
import { A, s, t, url, format, params, query, Icon } from "ariacluster";
import { TaskRow } from "ariacluster/task_row.js";
import { ContextMenu } from "ariacluster/context_menu.js";

const TABS = { all: [], downloading: ["downloading"], waiting: ["pending", "queued"], paused: ["paused"], completed: ["completed"], failed: ["failed"], canceled: ["canceled"] };
// Of what is over, the last change first; of what waits, who came first.
const USUAL = { waiting: "created", paused: "-updated", completed: "-updated", failed: "-updated", canceled: "-updated" };
const SORTS = ["-created", "created", "-updated", "name", "-speed", "-progress", "-size", "-priority", "status"];
const BIG_FIRST = ["progress", "speed", "updated", "size"];
const PAGE = 50;
const SPARK = 40;
const VIEW = ["show", "q", "node", "tag", "sort", "page"];
const STILL = 4000; // ms after the pointer was here for the last time until rows may change their places
const LONG = 500; // ms of a finger on a row until it is asked what can be done with it
const writes = (at) => at?.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
const lines = new Map(); // task id -> its last speeds; other pages and back do not forget them

export default {
  components: { Icon, TaskRow, ContextMenu },
  props: { orders: Object, looks: Object, verbs: Object },
  emits: ["view", "order"],
  data: () => ({ s, tabs: Object.keys(TABS), sorts: SORTS, ids: [], known: {}, guesses: {}, seenTags: [], total: 0, first: 0, asked: false, loading: false, error: "", number: 0, chosen: new Set(), everything: false, at: null, anchor: null, typed: params().get("q") || "", menu: null }),
  created() {
    const stops = [A.reads("tasks_page", this.take), A.reads("tasks_rows", (news) => this.freshen(news.rows)), A.reads("tasks_said", this.said)];
    this.stop = () => stops.forEach((stop) => stop());
    this.orderNumber = 0;
    this.touched = -STILL;
  },
  mounted() {
    addEventListener("keydown", this.key);
    this.ask();
    this.$el.querySelector('.ac-filter[aria-pressed="true"]')?.scrollIntoView({ block: "nearest", inline: "center" });
    if (params().get("focus") === "search") {
      query({ focus: null });
      this.$nextTick(() => this.$refs.search?.focus());
    }
  },
  unmounted() {
    this.stop();
    clearTimeout(this.timer);
    clearTimeout(this.finger);
    removeEventListener("keydown", this.key);
  },
  computed: {
    show: () => (TABS[params().get("show")] ? params().get("show") : "all"),
    usual() {
      return USUAL[this.show] || "-created";
    },
    sort() {
      return params().get("sort") || this.usual;
    },
    node() {
      const asked = params().get("node") || "";
      return s.members[asked]?.name || asked;
    },
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
      const names = Object.values(s.members).filter((m) => !m.witness).map((m) => m.name);
      return [...new Set(this.node ? [...names, this.node] : names)].sort((a, b) => a.localeCompare(b));
    },
    tags() {
      return [...new Set(this.tag ? [...this.seenTags, this.tag] : this.seenTags)].sort((a, b) => a.localeCompare(b));
    },
    searched() {
      return !!(this.q || this.node || this.tag);
    },
    pages() {
      return Math.max(1, Math.ceil(this.total / PAGE));
    },
    // What runs has a time yet to go; what is over, one since when.
    timeColumn() {
      return ["paused", "completed", "failed", "canceled"].includes(this.show) ? "updated" : "eta";
    },
    columns() {
      return ["name", "status", "progress", "speed", this.timeColumn, "node", "size"];
    },
    minute: () => Math.floor(s.now / 30) * 30,
    // What was ordered is shown at once; what the node says of it comes a moment later.
    rows() {
      return this.ids.filter((id) => !this.guesses[id]?.gone).map((id) => (this.guesses[id] ? { ...this.known[id], ...this.guesses[id].look } : this.known[id]));
    },
    count() {
      return this.everything ? this.total : this.chosen.size;
    },
    whole() {
      return this.rows.length > 0 && this.rows.every((r) => this.chosen.has(r.id));
    },
    // What makes sense for at least one of those that are chosen.
    offered() {
      const states = this.everything ? (TABS[this.show].length ? TABS[this.show] : Object.keys(this.orders)) : this.rows.filter((r) => this.chosen.has(r.id)).map((r) => r.status);
      return Object.keys(this.verbs).filter((verb) => this.verbs[verb].many && states.some((state) => this.can(state, verb)));
    },
    menuItems() {
      const { row, many } = this.menu;
      const orders = many ? this.offered : this.orders[row.status] || ["remove"];
      const keys = { pause: "P", resume: "P", remove: "Del" };
      const items = orders.map((id) => ({ id, icon: this.verbs[id].icon, text: t(`task.do.${id}`), key: keys[id], danger: id === "remove", line: id === "remove" }));
      if (many) return items;
      if (row.node) items.splice(items.length - 1, 0, { id: "node", icon: "filter", text: t("tasks.only_node", { node: s.members[row.node]?.name || row.node }), line: true });
      return [{ id: "open", icon: "arrow-right", text: t("tasks.open"), key: "↵" }, ...items];
    },
  },
  watch: {
    view() {
      this.everything = false; // it was said of what was shown
      this.ask();
    },
    q(now) {
      if (document.activeElement !== this.$refs.search) this.typed = now;
    },
    "s.online"(now) {
      if (now) this.ask();
    },
    "s.glance.lost"(now, before) {
      if (!now && before) this.ask();
    },
    // A point a second, whether or not the speed is another one.
    "s.n"() {
      for (const id of this.ids) lines.set(id, [...(lines.get(id) || []), this.known[id].speed].slice(-SPARK));
      for (const id of lines.keys()) {
        if (lines.size <= 4 * PAGE) break;
        if (!this.known[id]) lines.delete(id);
      }
    },
  },
  methods: {
    t,
    url,
    query,
    number_: format.count,
    line: (id) => lines.get(id),
    look(r) {
      return this.looks[r.status] || ["info", "plain"];
    },
    can(state, verb) {
      return (this.orders[state] || ["remove"]).includes(verb);
    },
    firstVerb(r) {
      return ["pause", "resume", "retry"].find((verb) => this.can(r.status, verb));
    },
    // -- what is shown
    go(changes) {
      this.unchoose();
      query({ page: null, ...changes });
    },
    clear() {
      this.typed = "";
      this.go({ show: null, q: null, node: null, tag: null });
    },
    ask() {
      this.number += 1;
      this.loading = true;
      this.error = "";
      const view = Object.fromEntries(VIEW.map((name) => [name, params().get(name)]));
      this.$emit("view", { ...view, sort: this.sort, number: this.number });
    },
    take(news) {
      if (news.number !== this.number) return;
      this.loading = false;
      this.asked = true;
      this.error = news.error || "";
      if (news.error) return;
      const before = news.fresh ? {} : this.known;
      if (news.fresh) this.guesses = {};
      const known = Object.fromEntries(news.ids.map((id) => [id, before[id]]));
      for (const row of news.rows) known[row.id] = Object.assign(known[row.id] || {}, row);
      const ids = news.ids.filter((id) => known[id]);
      this.ids = !news.fresh && this.busy() ? this.inPlace(ids) : ids;
      this.known = known;
      this.total = news.total;
      this.first = news.first;
      if (news.fresh) this.at = { first: ids[0], last: ids[ids.length - 1] }[this.arriving] || (known[this.at] ? this.at : null);
      if (news.fresh && this.arriving) this.focus();
      this.arriving = null;
      this.drop();
      this.collect(news.rows);
      if (this.first >= this.total && this.total > 0) query({ page: this.pages === 1 ? null : this.pages });
    },
    freshen(news) {
      for (const fresh of news) if (this.known[fresh.id]) Object.assign(this.known[fresh.id], fresh);
    },
    said(news) {
      this.guesses = Object.fromEntries(Object.entries(this.guesses).filter(([, guess]) => guess.order !== news.order));
    },
    // Who points at a row, or has chosen some, is not to find another one there a moment later.
    busy() {
      return this.count > 0 || !!this.menu || performance.now() - this.touched < STILL;
    },
    inPlace(ids) {
      const now = new Set(ids);
      const kept = this.ids.filter((id) => now.has(id));
      const had = new Set(kept);
      return [...kept, ...ids.filter((id) => !had.has(id))];
    },
    drop() {
      const gone = [...this.chosen].filter((id) => !this.known[id]);
      if (gone.length) this.chosen = new Set([...this.chosen].filter((id) => this.known[id]));
      if (!this.known[this.at]) this.at = null;
    },
    collect(rows) {
      const tags = new Set(this.seenTags);
      for (const row of rows) for (const tag of row.tags || []) tags.add(tag);
      if (tags.size !== this.seenTags.length) this.seenTags = [...tags].slice(0, 200);
    },
    type() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        if (this.typed !== this.q) this.go({ q: this.typed });
      }, 250);
    },
    leaf(page, arriving = null) {
      if (page < 1 || page > this.pages) return;
      this.unchoose();
      this.arriving = arriving;
      query({ page: page > 1 ? page : null });
      scrollTo({ top: 0, behavior: s.calm ? "auto" : "smooth" });
    },
    order(column) {
      const [once, twice] = BIG_FIRST.includes(column) ? [`-${column}`, column] : [column, `-${column}`];
      this.sortBy(this.sort === once ? twice : this.sort === twice ? this.usual : once);
    },
    sortBy(sort) {
      this.go({ sort: sort === this.usual ? null : sort });
    },
    sorted(column) {
      return this.sort === column ? "ascending" : this.sort === `-${column}` ? "descending" : "none";
    },
    // -- choosing
    choose(id, event) {
      const rows = this.rows;
      const here = rows.findIndex((r) => r.id === id);
      const from = event?.shiftKey ? rows.findIndex((r) => r.id === this.anchor) : -1;
      const chosen = new Set(this.chosen);
      const on = from >= 0 || !chosen.has(id);
      for (const r of rows.slice(from < 0 ? here : Math.min(from, here), (from < 0 ? here : Math.max(from, here)) + 1)) {
        if (on) chosen.add(r.id);
        else chosen.delete(r.id);
      }
      this.chosen = chosen;
      this.everything = false;
      this.anchor = id;
      this.at = id;
    },
    chooseAll() {
      this.chosen = this.whole ? new Set() : new Set(this.rows.map((r) => r.id));
      this.everything = false;
    },
    chooseMore() {
      if (this.whole && this.total > this.rows.length) this.everything = true;
      else this.chosen = new Set(this.rows.map((r) => r.id));
    },
    unchoose() {
      this.chosen = new Set();
      this.everything = false;
      this.anchor = null;
    },
    // -- ordering: to those named, or else to those chosen
    say(verb, ids = null) {
      const all = ids === null && this.everything;
      const named = ids || [...this.chosen];
      if (!all && !named.length) return;
      this.orderNumber += 1;
      const { final, held } = this.verbs[verb];
      const asksFirst = final && (all || !held);
      if (!asksFirst) this.guess(verb, new Set(all ? this.ids : named));
      this.$emit("order", { verb, ids: all ? [] : named, all, order: this.orderNumber });
      if (ids === null && !asksFirst) this.unchoose();
    },
    guess(verb, ids) {
      const { becomes, held } = this.verbs[verb];
      if (!held && !becomes) return;
      if (held) this.stepOff(ids);
      const guesses = { ...this.guesses };
      for (const r of this.rows) {
        if (!ids.has(r.id) || !this.can(r.status, verb)) continue;
        guesses[r.id] = held ? { order: this.orderNumber, gone: true } : { order: this.orderNumber, look: { status: becomes, speed: 0, why: "" } };
      }
      this.guesses = guesses;
    },
    // The cursor goes on to the next that stays.
    stepOff(ids) {
      const here = this.rows.findIndex((r) => r.id === this.at);
      if (here < 0 || !ids.has(this.at)) return;
      const stay = [...this.rows.slice(here), ...this.rows.slice(0, here).reverse()].find((r) => !ids.has(r.id));
      this.at = stay?.id ?? null;
      this.focus();
    },
    toggle(ids) {
      const rows = this.rows.filter((r) => (ids ? ids.includes(r.id) : this.everything || this.chosen.has(r.id)));
      const verb = rows.some((r) => this.can(r.status, "pause")) ? "pause" : rows.some((r) => this.can(r.status, "resume")) ? "resume" : null;
      if (verb) this.say(verb, ids);
    },
    // -- hands
    press(r, event) {
      const link = event.target.closest("a");
      if (event.target.closest("button, input, label") || (link && !(s.phone && this.count))) return;
      if (event.ctrlKey || event.metaKey || event.shiftKey || this.count) {
        event.preventDefault();
        this.choose(r.id, event);
      } else if (!getSelection()?.toString()) A.go(`/tasks/${r.id}`);
    },
    open(x, y, r) {
      this.at = r.id;
      this.menu = { row: r, many: this.count > 1 && (this.everything || this.chosen.has(r.id)), x, y, key: `${r.id}:${x}:${y}` };
    },
    context(r, event) {
      if (event.shiftKey || event.ctrlKey) return;
      event.preventDefault();
      if (this.menu?.row.id === r.id && this.swallow) return;
      const box = event.currentTarget.getBoundingClientRect();
      this.open(event.clientX || box.left + 60, event.clientY || box.top + 30, r);
    },
    beside(r, event) {
      const box = event.currentTarget.getBoundingClientRect();
      this.open(box.right - 190, box.bottom + 4, r);
    },
    // Some browsers of phones tell nothing of a long press.
    touch(r, event) {
      this.swallow = false;
      if (event.pointerType !== "touch") return;
      const { clientX: x, clientY: y } = event;
      this.from = { x, y };
      this.finger = setTimeout(() => {
        this.open(x, y, r);
        this.swallow = true;
        navigator.vibrate?.(10);
      }, LONG);
    },
    untouch(event) {
      if (event.type !== "pointermove") clearTimeout(this.finger);
      else if (this.from && Math.hypot(event.clientX - this.from.x, event.clientY - this.from.y) > 8) clearTimeout(this.finger);
      this.touched = performance.now();
    },
    swallowed(event) {
      if (!this.swallow) return;
      this.swallow = false;
      event.preventDefault();
      event.stopPropagation();
    },
    pick(id) {
      const { row, many } = this.menu;
      this.menu = null;
      if (id === "open") A.go(`/tasks/${row.id}`);
      else if (id === "node") this.go({ node: s.members[row.node]?.name || row.node });
      else this.say(id, many ? null : [row.id]);
    },
    key(event) {
      if (document.querySelector("dialog[open]") || this.menu) return;
      const { key } = event;
      if (key === "Escape") {
        if (writes(event.target)) event.target.blur();
        else if (this.count) this.unchoose();
        else this.leave();
        return;
      }
      if (writes(event.target)) return;
      const held = event.ctrlKey || event.metaKey;
      if (event.altKey || (held && key !== "a")) return;
      const one = this.count ? null : this.known[this.at] ? [this.at] : [];
      const acts = held ? { a: this.chooseMore } : {
        "/": () => this.$refs.search.focus(),
        j: () => this.move(1, event),
        k: () => this.move(-1, event),
        arrowdown: () => this.move(1, event),
        arrowup: () => this.move(-1, event),
        x: () => this.at && this.choose(this.at, event),
        p: () => this.toggle(one),
        delete: () => this.say("remove", one),
        enter: () => this.at && A.go(`/tasks/${this.at}`),
      };
      const act = acts[key.toLowerCase()];
      if (!act || (key === "Enter" && event.target.closest?.("a, button, summary"))) return;
      event.preventDefault();
      act();
    },
    // Down or up; at the end of the page to the next one. With Shift, what is passed is chosen.
    move(by, event) {
      const rows = this.rows;
      const here = rows.findIndex((r) => r.id === this.at);
      const to = here < 0 ? (by > 0 ? 0 : rows.length - 1) : here + by;
      if (rows[to]) {
        if (event.shiftKey) {
          if (here >= 0 && !this.chosen.has(this.at)) this.choose(this.at);
          this.choose(rows[to].id);
        }
        this.at = rows[to].id;
        this.focus();
      } else if (!this.count && rows.length) this.leaf(this.page + by, by > 0 ? "first" : "last");
    },
    // The focus goes along, so that a reader of the screen tells where it is, and Enter opens it.
    async focus() {
      await this.$nextTick();
      const row = this.at && this.$el.querySelector?.(`[data-task="${CSS.escape(this.at)}"]`);
      if (!row) return;
      row.querySelector("a").focus({ preventScroll: true });
      row.scrollIntoView({ block: "nearest" });
    },
    leave() {
      this.at = null;
      if (this.$el.contains(document.activeElement)) document.activeElement.blur();
    },
  },
  template: `
<div class="ac-tasks">
  <div class="ac-toolbar">
    <div class="ac-filters" role="group" :aria-label="t('tasks.filter')">
      <template v-for="f in tabs" :key="f"><button v-if="f === 'all' || f === 'downloading' || counts[f] || f === show" type="button" class="ac-filter" :aria-pressed="show === f ? 'true' : 'false'" @click="go({show: f === 'all' ? null : f, sort: null})">{{ t('tasks.show.' + f) }}<small>{{ number_(counts[f]) }}</small></button></template>
    </div>
    <div class="ac-toolbar-end">
      <label v-if="nodes.length > 1" class="ac-pick"><span class="ac-visually-gone">{{ t('tasks.node') }}</span><select class="ac-input" :value="node" @change="go({node: $event.target.value})"><option value="">{{ t('tasks.any_node') }}</option><option v-for="n in nodes" :key="n" :value="n">{{ n }}</option></select></label>
      <label v-if="tags.length" class="ac-icon-pick" :title="t('tasks.tag')"><span class="ac-visually-gone">{{ t('tasks.tag') }}</span><Icon name="tag"/><select :value="tag" @change="go({tag: $event.target.value})"><option value="">{{ t('tasks.any_tag') }}</option><option v-for="one in tags" :key="one" :value="one">{{ one }}</option></select></label>
      <label class="ac-icon-pick" :title="t('tasks.sort')"><span class="ac-visually-gone">{{ t('tasks.sort') }}</span><Icon name="arrow-up-down"/><select :value="sort" @change="sortBy($event.target.value)"><option v-for="one in sorts" :key="one" :value="one">{{ t('tasks.sort.' + one) }}</option><option v-if="!sorts.includes(sort)" :value="sort">{{ t('tasks.sort.column') }}</option></select></label>
      <label class="ac-search"><Icon name="search"/><input ref="search" data-ac-search class="ac-input" type="search" v-model="typed" :placeholder="t('tasks.search')" :aria-label="t('tasks.search')" @input="type"><kbd class="ac-wide">/</kbd></label>
    </div>
  </div>
  <p v-if="tag" class="ac-narrowed"><span class="ac-tag"><Icon name="tag"/><bdi class="ac-clip">{{ tag }}</bdi><button type="button" class="ac-untag" :aria-label="t('tasks.untag')" @click="go({tag: null})"><Icon name="x"/></button></span></p>
  <div class="ac-card ac-task-card"><div :class="['ac-task-table', count && 'ac-choosing']" role="table" :aria-label="t('nav.tasks')" :aria-busy="loading ? 'true' : 'false'" :aria-rowcount="total + 1" @pointermove="untouch" @pointerup="untouch" @pointercancel="untouch" @click.capture="swallowed">
    <div class="ac-tr ac-th" role="row">
      <span role="columnheader" class="ac-td-check"><input type="checkbox" :checked="everything || whole" :indeterminate.prop="!everything && !whole && count > 0" :disabled="!rows.length" :aria-label="t('tasks.choose_page')" @change="chooseAll"></span>
      <template v-for="column in columns" :key="column">
        <span v-if="['eta', 'node'].includes(column)" role="columnheader" :class="['ac-td-' + column, column === 'eta' && 'ac-right']">{{ t('tasks.col.' + column) }}</span>
        <span v-else role="columnheader" :class="['ac-td-' + (column === 'updated' ? 'eta' : column), ['speed', 'updated', 'size'].includes(column) && 'ac-right']" :aria-sort="sorted(column)"><button type="button" @click="order(column)">{{ t('tasks.col.' + column) }}<Icon v-if="sorted(column) !== 'none'" :name="sorted(column) === 'ascending' ? 'arrow-up' : 'arrow-down'"/></button></span></template>
      <span role="columnheader" class="ac-td-do"><span class="ac-visually-gone">{{ t('tasks.col.orders') }}</span></span>
    </div>
    <TaskRow v-for="r in rows" :key="r.id" :r="r" :look="look(r)" :chosen="everything || chosen.has(r.id)" :at="r.id === at" :points="line(r.id)" :minute="minute" :first="firstVerb(r)" :icon="verbs[firstVerb(r)]?.icon"
      @choose="choose(r.id, $event)" @say="say($event, [r.id])" @tag="go({tag: $event})" @menu="beside(r, $event)" @click="press(r, $event)" @contextmenu="context(r, $event)" @pointerdown="touch(r, $event)" @focusin="at = r.id"/>
  </div>
  <div v-if="error" class="ac-empty" role="alert"><Icon name="circle-alert"/><b>{{ t('tasks.not_read') }}</b><p>{{ error }}</p><div class="ac-empty-do"><button type="button" class="ac-button" @click="ask">{{ t('tasks.again') }}</button><button v-if="searched" type="button" class="ac-button ac-quiet" @click="clear">{{ t('nodes.clear') }}</button></div></div>
  <div v-else-if="asked && !rows.length && searched" class="ac-empty"><Icon name="search"/><b>{{ q ? t('tasks.none_of', {q}) : t('tasks.none') }}</b><p>{{ t('tasks.none_text') }}</p><button type="button" class="ac-button" @click="clear">{{ t('nodes.clear') }}</button></div>
  <div v-else-if="asked && !rows.length && s.glance.tasks" class="ac-empty"><Icon :name="show === 'all' ? 'inbox' : looks[{waiting: 'pending'}[show] || show][0]"/><b>{{ t('tasks.none.' + show) }}</b><p>{{ t('tasks.none.' + show + '.text') }}</p></div>
  <div v-else-if="asked && !rows.length" class="ac-empty"><Icon name="download"/><b>{{ t('fast.empty') }}</b><p>{{ t('fast.empty_text') }}</p><code class="ac-code">{{ t('tasks.example') }}</code></div>
  <div v-else-if="!asked" class="ac-list-bones"><i v-for="n in 12" :key="n"></i></div>
  <nav v-if="rows.length" class="ac-pager" :aria-label="t('tasks.pages')"><span class="ac-muted ac-num">{{ t('tasks.range', {from: first + 1, to: first + rows.length, n: total}) }}</span>
    <template v-if="pages > 1"><button type="button" class="ac-button" :disabled="page <= 1" :aria-label="t('tasks.before')" @click="leaf(page - 1)"><Icon name="chevron-left"/></button>
    <span class="ac-num">{{ number_(page) }} / {{ number_(pages) }}</span>
    <button type="button" class="ac-button" :disabled="page >= pages" :aria-label="t('tasks.after')" @click="leaf(page + 1)"><Icon name="chevron-right"/></button></template></nav></div>
  <Transition name="ac-bulk"><div v-if="count" class="ac-bulk" role="toolbar" :aria-label="t('tasks.bulk')">
    <b class="ac-num" aria-live="polite">{{ t('tasks.chosen', {n: count}) }}</b>
    <button v-if="whole && !everything && total > rows.length" type="button" class="ac-button ac-quiet ac-all" @click="everything = true">{{ t('tasks.choose_all', {n: total}) }}</button>
    <button v-for="verb in offered" :key="verb" type="button" :class="['ac-button', 'ac-quiet', verb === 'remove' && 'ac-danger']" :aria-label="t('task.do.' + verb)" @click="say(verb)"><Icon :name="verbs[verb].icon"/><span>{{ t('task.do.' + verb) }}</span></button>
    <button type="button" class="ac-icon-button" :aria-label="t('tasks.unchoose')" @click="unchoose"><Icon name="x"/></button></div></Transition>
  <ContextMenu v-if="menu" :key="menu.key" :items="menuItems" :label="t('tasks.menu', {name: menu.row.name})" :x="menu.x" :y="menu.y" @pick="pick" @close="menu = null"/>
</div>`,
};
