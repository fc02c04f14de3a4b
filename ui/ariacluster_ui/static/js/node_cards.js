// All nodes, as cards or as rows: which, in what order and how is in the URL.
import { A, s, t, url, format, Icon, Menu, params, query } from "ariacluster";
import { look, orders, Bars, Slots, Line } from "ariacluster/node_parts.js";

const SHOWN = { all: () => true, busy: (n) => n.status === "busy", idle: (n) => n.status === "online", draining: (n) => n.status === "draining", offline: (n) => n.gone };
const SORTS = { name: (n) => n.name.toLowerCase(), down: (n) => -n.down, cpu: (n) => -(n.cpu || 0), free: (n) => n.free || 0, used: (n) => -n.used / (n.slots || 1) };
const MANY = 24;

export default {
  components: { Icon, Menu, Bars, Slots, Line },
  emits: ["act"],
  data: () => ({ s, filters: Object.keys(SHOWN), sorts: Object.keys(SORTS) }),
  computed: {
    search: () => params().get("q") || "",
    show: () => (SHOWN[params().get("show")] ? params().get("show") : "all"),
    sort: () => (SORTS[params().get("sort")] ? params().get("sort") : "name"),
    view: () => params().get("view") || (Object.keys(s.members).length > MANY ? "rows" : "cards"),
    all() {
      return Object.keys(s.members).map(look);
    },
    counts() {
      return Object.fromEntries(this.filters.map((f) => [f, this.all.filter(SHOWN[f]).length]));
    },
    nodes() {
      const wanted = this.search.trim().toLowerCase();
      const key = SORTS[this.sort];
      return this.all
        .filter(SHOWN[this.show])
        .filter((n) => !wanted || [n.name, n.address, ...n.tags].some((text) => text.toLowerCase().includes(wanted)))
        .sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.name.localeCompare(b.name)));
    },
  },
  mounted() {
    addEventListener("keydown", this.key);
  },
  unmounted() {
    removeEventListener("keydown", this.key);
  },
  methods: {
    t,
    url,
    orders,
    query,
    speed: format.speed,
    size: format.size,
    pick(n, id) {
      if (id === "open") A.go(`/nodes/${n.id}`);
      else this.$emit("act", { verb: id, id: n.id });
    },
    key(event) {
      if (event.key !== "/" || event.metaKey || event.ctrlKey || event.target.closest?.("input, textarea, dialog")) return;
      event.preventDefault();
      this.$refs.search?.focus();
    },
  },
  template: `
<div class="ac-nodes">
  <div v-if="all.length > 1" class="ac-toolbar">
    <div class="ac-filters" role="group" :aria-label="t('nodes.filter')">
      <template v-for="f in filters" :key="f"><button v-if="f === 'all' || counts[f] || f === show" type="button" class="ac-filter" :aria-pressed="show === f ? 'true' : 'false'" @click="query({show: f === 'all' ? null : f})">{{ t('nodes.show.' + f) }}<small>{{ counts[f] }}</small></button></template>
    </div>
    <div class="ac-toolbar-end">
      <label class="ac-search"><Icon name="search"/><input ref="search" data-ac-search class="ac-input" type="search" :value="search" :placeholder="t('nodes.search')" :aria-label="t('nodes.search')" @input="query({q: $event.target.value})" @keydown.esc="$event.target.blur()"><kbd class="ac-wide">/</kbd></label>
      <label class="ac-pick"><span class="ac-visually-gone">{{ t('nodes.sort') }}</span><select class="ac-input" :value="sort" @change="query({sort: $event.target.value === 'name' ? null : $event.target.value})"><option v-for="o in sorts" :key="o" :value="o">{{ t('nodes.sort.' + o) }}</option></select></label>
      <div class="ac-segments ac-wide" role="group" :aria-label="t('nodes.view')">
        <button v-for="v in ['cards', 'rows']" :key="v" type="button" :aria-pressed="view === v ? 'true' : 'false'" :aria-label="t('nodes.view.' + v)" :title="t('nodes.view.' + v)" @click="query({view: v})"><Icon :name="v === 'cards' ? 'layout-dashboard' : 'list'"/></button>
      </div>
    </div>
  </div>
  <div v-if="view === 'cards' || s.phone" class="ac-node-cards">
    <article v-for="n in nodes" :key="n.id" :class="['ac-card', 'ac-node', n.gone && 'ac-gone']" :aria-label="n.name">
      <header><a class="ac-node-id" :href="url('/nodes/' + n.id)"><span class="ac-letter-tile" :style="{background: n.fill}">{{ n.letter }}</span>
        <span><b class="ac-clip"><bdi>{{ n.name }}</bdi></b><small class="ac-clip">{{ n.place }}</small></span></a>
        <span :class="'ac-pill ac-tone-' + n.pill.tone"><Icon :name="n.pill.icon"/>{{ n.pill.text }}</span></header>
      <p v-if="n.trouble" class="ac-trouble">{{ n.trouble }}</p>
      <div class="ac-node-speeds"><span class="ac-down"><Icon name="arrow-down"/>{{ speed(n.down) }}</span><span class="ac-up"><Icon name="arrow-up"/>{{ speed(n.up) }}</span><Slots v-if="!n.witness" :n="n" :most="5"/></div>
      <Line :id="n.id" :fill="n.fill"/>
      <Bars :n="n"/>
      <footer><span class="ac-tags"><span v-for="tag in n.tags" :key="tag" class="ac-tag"><Icon name="tag"/><bdi class="ac-clip">{{ tag }}</bdi></span><span v-if="n.limit" class="ac-tag" :title="t('node.limited')"><Icon name="gauge"/>{{ n.limit }}</span></span>
        <small class="ac-muted">{{ n.status === 'draining' ? t('node.left', {n: n.left || 0}) : n.up_for }}</small>
        <Menu :items="orders(n)" :label="t('node.menu', {name: n.name})" @pick="pick(n, $event)"/></footer>
    </article>
  </div>
  <div v-else class="ac-card ac-scroll"><table class="ac-table">
    <thead><tr><th>{{ t('nodes.col.name') }}</th><th>{{ t('nodes.col.state') }}</th><th class="ac-right">{{ t('kpi.down') }}</th><th class="ac-line-col"><span class="ac-visually-gone">{{ t('chart.span') }}</span></th><th class="ac-right">{{ t('kpi.up') }}</th><th>{{ t('nodes.col.slots') }}</th><th class="ac-right">{{ t('node.cpu') }}</th><th>{{ t('node.disk') }}</th><th>{{ t('nodes.col.tags') }}</th><th><span class="ac-visually-gone">{{ t('nodes.col.menu') }}</span></th></tr></thead>
    <tbody><tr v-for="n in nodes" :key="n.id" :class="n.gone && 'ac-gone'">
      <td><a class="ac-chip-node" :href="url('/nodes/' + n.id)"><i :style="{background: n.fill}"></i><b><bdi>{{ n.name }}</bdi></b></a></td>
      <td><span :class="'ac-pill ac-tone-' + n.pill.tone"><Icon :name="n.pill.icon"/>{{ n.pill.text }}</span></td>
      <td class="ac-right ac-num"><b>{{ speed(n.down) }}</b></td><td><Line :id="n.id" :fill="n.fill" :wide="90" :high="22" :last="90"/></td><td class="ac-right ac-num">{{ speed(n.up) }}</td>
      <td class="ac-num">{{ n.used }}/{{ n.slots }}</td><td class="ac-right ac-num">{{ n.gone ? '—' : (n.cpu || 0) + '%' }}</td>
      <td><span class="ac-disk-cell"><span :class="'ac-bar ac-tone-' + n.tone"><i :style="{width: 100 * n.full + '%'}"></i></span><span class="ac-num">{{ n.disk ? size(n.free) : '—' }}</span></span></td>
      <td><span class="ac-tags"><span v-for="tag in n.tags" :key="tag" class="ac-tag"><bdi class="ac-clip">{{ tag }}</bdi></span><span v-if="n.limit" class="ac-tag"><Icon name="gauge"/>{{ n.limit }}</span></span></td>
      <td><Menu :items="orders(n)" :label="t('node.menu', {name: n.name})" @pick="pick(n, $event)"/></td>
    </tr></tbody></table></div>
  <div v-if="s.ready && !nodes.length" class="ac-card ac-empty"><Icon name="server"/><b>{{ t(all.length ? 'nodes.none' : 'nodes.empty') }}</b><p>{{ t(all.length ? 'nodes.none_text' : 'nodes.empty_text') }}</p>
    <button v-if="all.length" type="button" class="ac-button" @click="query({q: null, show: null})">{{ t('nodes.clear') }}</button></div>
  <div v-if="all.length === 1" class="ac-card ac-empty"><Icon name="plus"/><b>{{ t('nodes.alone') }}</b><p>{{ t('nodes.alone_text') }}</p><code class="ac-code">ariacluster up</code></div>
</div>`,
};
