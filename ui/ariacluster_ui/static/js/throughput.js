// What each node downloads, in layers, over the last five minutes. It flows: each second it slides on by a step, and only the
// compositor moves it.
import { s, t, format, nodeName, COLOURS } from "ariacluster";

const SPAN = 300;
const MOST = 8; // layers; of more nodes the largest have one each, and the rest share the last
const FOOT = 22; // pixels below the axis

export default {
  props: { only: String },
  data: () => ({ s, width: 0, height: 0, at: null, lit: null, ranked: [], age: 0 }),
  computed: {
    // [{id, name, fill, values}], the lowest first
    layers() {
      const length = s.down.length;
      const row = (id) => {
        const values = s.nodes[id] || [];
        return values.length < length ? [...Array(length - values.length).fill(0), ...values] : values.slice(-length);
      };
      const shown = this.ranked.filter((id) => s.members[id] || s.nodes[id]);
      const taken = new Set();
      const layers = shown.map((id) => ({ id, name: nodeName(id), fill: this.pastel(`var(--ac-node-${this.free(s.members[id]?.c ?? 0, taken)})`), values: row(id) }));
      const rest = Object.keys(s.nodes).filter((id) => !shown.includes(id) && (!this.only || id === this.only));
      if (rest.length) {
        const sum = Array(length).fill(0);
        for (const id of rest) row(id).forEach((v, i) => { sum[i] += v; });
        layers.unshift({ id: "", name: t("chart.others", { n: rest.length }), fill: "color-mix(in srgb, var(--ac-accent) 24%, var(--ac-surface))", values: sum });
      }
      return layers;
    },
    sums() {
      const sums = [Array(s.down.length).fill(0)];
      for (const layer of this.layers) {
        const below = sums[sums.length - 1];
        sums.push(layer.values.map((v, i) => below[i] + v));
      }
      return sums;
    },
    // The highest line of the grid, and how far the lines are apart.
    scale() {
      const highest = Math.max(1e6, ...(this.sums[this.sums.length - 1] || [])) * 1.06;
      const rough = highest / 4;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((f) => f >= rough);
      return { step, top: Math.ceil(highest / step) * step };
    },
    lines() {
      const found = [];
      for (let v = 0; v <= this.scale.top + 1; v += this.scale.step) found.push({ v, y: this.y(v), text: v ? format.speed(v) : "0" });
      return found;
    },
    idle() {
      return s.ready && !(this.sums[this.sums.length - 1] || []).some((v) => v > 0);
    },
    // While little is known it fills the picture all the same.
    step() {
      return this.width / (Math.min(SPAN, Math.max(60, s.down.length)) - 1);
    },
    paths() {
      const smooth = (row) => row.map((v, i) => (i && i < row.length - 1 ? (row[i - 1] + 2 * v + row[i + 1]) / 4 : v));
      const lines = this.sums.map((row) => smooth(row).map((v, i) => [this.x(i), this.y(v)]));
      const text = (points) => points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
      return this.layers.map((layer, i) => ({
        ...layer,
        d: lines[i].length ? `M${text(lines[i + 1])}L${text([...lines[i]].reverse())}Z` : "",
        top: this.only && lines[i].length ? `M${text(lines[i + 1])}` : "",
      }));
    },
    minutes() {
      const length = s.down.length;
      const found = [];
      if (!s.at) return found;
      for (let i = 0; i < length; i += 1) {
        const second = Math.round(s.at) - (length - 1 - i);
        if (second % 60 === 0) found.push({ x: this.x(i), text: this.clock(second).slice(0, 5) });
      }
      return found;
    },
    tip() {
      if (this.at === null || this.at >= s.down.length) return null;
      const i = this.at;
      const rows = this.layers.map((l) => ({ ...l, v: l.values[i] })).filter((l) => l.v).sort((a, b) => b.v - a.v);
      const total = rows.reduce((sum, l) => sum + l.v, 0);
      const x = this.x(i);
      return { x, left: x > this.width / 2, rows, total, time: this.clock(Math.round(s.at) - (s.down.length - 1 - i)) };
    },
  },
  watch: {
    "s.n": {
      immediate: true,
      handler() {
        if (this.age % 20 === 0 || this.ranked.length < Math.min(MOST, Object.keys(s.nodes).length)) this.rank();
        this.age += 1;
        this.$nextTick(this.slide);
      },
    },
  },
  mounted() {
    this.sight = new ResizeObserver(() => this.measure());
    this.sight.observe(this.$refs.plot);
    this.measure();
  },
  unmounted() {
    this.sight.disconnect();
  },
  methods: {
    t,
    speed: format.speed,
    pastel: (colour) => `color-mix(in srgb, ${colour} 82%, var(--ac-surface))`,
    // Its own colour, or the next that no other layer has.
    free(c, taken) {
      let found = c;
      while (taken.has(found) && taken.size < COLOURS) found = (found + 1) % COLOURS;
      taken.add(found);
      return found;
    },
    // One alone is a line above a tint.
    dress(layer) {
      if (!this.only) return { fill: layer.fill };
      const own = `var(--ac-node-${s.members[layer.id]?.c ?? 0})`;
      return { fill: `color-mix(in srgb, ${own} 20%, var(--ac-surface))`, stroke: "none" };
    },
    clock: (second) => new Date(second * 1000).toLocaleTimeString("en-GB"),
    x(i) {
      return this.width - (s.down.length - 1 - i) * this.step;
    },
    y(v) {
      return (this.height - FOOT) * (1 - v / this.scale.top) + 1;
    },
    measure() {
      const box = this.$refs.clip?.getBoundingClientRect();
      if (box) [this.width, this.height] = [box.width, box.height];
    },
    // The largest nodes keep their places for a while, so that layers do not jump about.
    rank() {
      if (this.only) {
        this.ranked = [this.only];
        return;
      }
      const sum = (id) => (s.nodes[id] || []).reduce((a, b) => a + b, 0);
      const ids = Object.keys(s.nodes).filter((id) => s.members[id]);
      const most = ids.length > MOST ? MOST - 1 : MOST;
      const largest = ids.sort((a, b) => sum(b) - sum(a)).slice(0, most);
      this.ranked = largest.sort((a, b) => nodeName(a).localeCompare(nodeName(b)));
    },
    slide() {
      if (s.calm || !this.$refs.moving || document.hidden) return;
      this.$refs.moving.animate([{ transform: `translateX(${this.step}px)` }, { transform: "none" }], { duration: 1000 });
    },
    hover(event) {
      const box = this.$refs.clip.getBoundingClientRect();
      const from = Math.round((this.width - (event.clientX - box.left)) / this.step);
      const i = s.down.length - 1 - from;
      this.at = i >= 0 && i < s.down.length ? i : null;
    },
  },
  template: `
<section class="ac-card ac-chart" :aria-label="t('chart.title')">
  <div class="ac-card-head"><h2>{{ only ? t('chart.title_one') : t('chart.title') }}</h2><small>{{ t('chart.span') }}</small></div>
  <ul v-if="!only" class="ac-legend">
    <li v-for="l in layers" :key="l.id"><button type="button" @mouseenter="lit = l.id" @mouseleave="lit = null" @focus="lit = l.id" @blur="lit = null"><i :style="{background: l.fill}"></i><bdi class="ac-clip">{{ l.name }}</bdi></button></li>
  </ul>
  <div class="ac-plot" ref="plot" @pointermove="hover" @pointerleave="at = null">
    <svg class="ac-plot-grid" aria-hidden="true">
      <g v-for="l in lines" :key="l.v"><line x1="68" x2="100%" :y1="l.y" :y2="l.y"/><text x="60" :y="l.y + 4" text-anchor="end">{{ l.text }}</text></g>
    </svg>
    <p v-if="idle" class="ac-plot-idle">{{ t('chart.idle') }}</p>
    <div class="ac-plot-clip" ref="clip">
      <svg ref="moving" role="img" :aria-label="t('chart.now', {speed: speed(s.glance.down || 0)})">
        <path v-for="l in paths" :key="l.id" :d="l.d" :class="['ac-layer', lit !== null && lit !== l.id && 'ac-dim']" :style="dress(l)"/>
        <template v-if="only"><path v-for="l in paths" :key="'t' + l.id" :d="l.top" fill="none" stroke-width="1.6" stroke-linejoin="round" :style="{stroke: 'var(--ac-node-' + (s.members[l.id]?.c ?? 0) + ')'}"/></template>
        <text v-for="m in minutes" :key="m.text" :x="m.x" :y="height - 4" text-anchor="middle">{{ m.text }}</text>
      </svg>
      <template v-if="tip"><div class="ac-cross" :style="{left: tip.x + 'px'}"></div>
        <div class="ac-tip" :style="tip.left ? {right: (width - tip.x + 12) + 'px'} : {left: tip.x + 12 + 'px'}">
          <header><span>{{ tip.time }}</span><b>{{ speed(tip.total) }}</b></header>
          <div v-for="l in tip.rows.slice(0, 9)" :key="l.id"><i :style="{background: l.fill}"></i><bdi>{{ l.name }}</bdi><span>{{ speed(l.v) }}</span></div>
        </div></template>
    </div>
  </div>
</section>`,
};
