// The leader in the middle, the others around it; a new leader trades places with the old one before one's eyes. More nodes than
// find room in a ring become cells of a comb.
import { s, t, url, colour, format, Icon } from "ariacluster";

const RING = 12;
const WIDTH = 400;
const HEIGHT = 330;
const R = 20;
const AROUND = 2 * Math.PI * R;

export default {
  components: { Icon },
  data: () => ({ s, over: null }),
  computed: {
    ids() {
      return Object.keys(s.members).sort((a, b) => s.members[a].name.localeCompare(s.members[b].name) || (a < b ? -1 : 1));
    },
    leader() {
      const id = s.glance.leader?.id;
      return id && s.members[id] ? id : null;
    },
    ring() {
      return this.ids.length <= RING;
    },
    stars() {
      const around = this.ids.filter((id) => id !== this.leader);
      const wide = around.length > 6 ? 152 : 140;
      const centre = { x: WIDTH / 2, y: 150 };
      const places = { [this.leader]: { ...centre, y: around.length ? centre.y : 140 } };
      // Two and three make a line and a triangle of their own.
      const few = { 1: [[-80, 150], [80, 150]], 2: [[0, 86], [-112, 226], [112, 226]] }[around.length];
      if (few && this.leader) {
        [this.leader, ...around].forEach((id, i) => { places[id] = { x: centre.x + few[i][0], y: few[i][1] }; });
      } else around.forEach((id, i) => {
        const angle = -Math.PI / 2 + ((i + (around.length % 2 ? 0 : 0.5)) * 2 * Math.PI) / around.length;
        places[id] = { x: centre.x + wide * Math.cos(angle), y: centre.y + 116 * Math.sin(angle) };
      });
      return this.ids.map((id) => {
        const m = s.members[id];
        const cpu = s.loads[id]?.cpu || 0;
        const gone = m.status === "offline";
        const speed = s.speeds[id]?.[0] || 0;
        return {
          id,
          ...places[id],
          name: m.name.length > 16 ? `${m.name.slice(0, 15)}…` : m.name,
          letter: gone ? "!" : [...m.name][0]?.toUpperCase(),
          gone,
          tone: gone ? "var(--ac-error)" : m.status === "draining" ? "var(--ac-warn)" : colour(id),
          arc: gone ? AROUND : (AROUND * cpu) / 100,
          told: gone ? t("status.offline") : m.status === "draining" ? t("status.draining") : m.witness ? t("status.witness") : speed ? `↓ ${format.speed(speed)}` : t("status.idle"),
          live: !gone && speed > 0,
          leads: id === this.leader,
          label: t("topology.node", { name: m.name, status: t(`status.${m.status}`), cpu }),
        };
      });
    },
    centre() {
      return this.stars.find((star) => star.leads);
    },
    // A comb of hexagons: fill tells the load, the leader has a crown.
    cells() {
      const count = this.ids.length;
      const about = Math.ceil(Math.sqrt(count * 1.2));
      const ragged = (c) => Math.ceil(count / c) * c - count + Math.abs(c - about) / 4;
      const columns = [about - 1, about, about + 1, about + 2].reduce((a, b) => (ragged(b) < ragged(a) ? b : a));
      const rows = Math.ceil(count / columns);
      const size = Math.min((WIDTH - 20) / (columns + 0.5) / Math.sqrt(3), (HEIGHT - 40) / (rows * 1.5 + 0.5));
      const dx = size * Math.sqrt(3);
      const left = (WIDTH - (columns + 0.5) * dx) / 2 + dx / 2;
      const top = (HEIGHT - 20 - (rows * 1.5 + 0.5) * size) / 2 + size;
      const corner = (i) => `${(size * 0.94 * Math.sin((i * Math.PI) / 3)).toFixed(1)},${(size * 0.94 * Math.cos((i * Math.PI) / 3)).toFixed(1)}`;
      const points = [0, 1, 2, 3, 4, 5].map(corner).join(" ");
      return this.ids.map((id, i) => {
        const m = s.members[id];
        const row = Math.floor(i / columns);
        const used = m.slots ? (s.loads[id]?.used || 0) / m.slots : 0;
        const gone = m.status === "offline";
        const tone = gone ? "var(--ac-error)" : m.status === "draining" ? "var(--ac-warn)" : colour(id);
        const mixed = gone ? 30 : Math.round(18 + 72 * Math.min(1, used));
        return {
          id,
          points,
          size,
          x: left + (i % columns) * dx + (row % 2 ? dx / 2 : 0),
          y: top + row * size * 1.5,
          fill: `color-mix(in srgb, ${tone} ${mixed}%, var(--ac-surface))`,
          gone,
          leads: id === this.leader,
          label: t("topology.node", { name: m.name, status: t(`status.${m.status}`), cpu: s.loads[id]?.cpu || 0 }),
        };
      });
    },
    hint() {
      if (this.over) {
        const m = s.members[this.over];
        return m ? `${m.name} · ${t(`status.${m.status}`)} · ↓ ${format.speed(s.speeds[this.over]?.[0] || 0)}` : "";
      }
      return t(this.ring ? "topology.ring" : "topology.comb");
    },
  },
  methods: {
    t,
    url,
    edge(star) {
      const c = this.centre;
      const [dx, dy] = [star.x - c.x, star.y - c.y];
      const far = Math.hypot(dx, dy) || 1;
      const [ux, uy] = [dx / far, dy / far];
      const from = R + 8;
      return `M${c.x + ux * from} ${c.y + uy * from}L${star.x - ux * (R + 7)} ${star.y - uy * (R + 7)}`;
    },
    dash: (star) => `${star.arc} ${AROUND}`,
  },
  template: `
<section class="ac-card ac-topology" :aria-label="t('topology.title')">
  <div class="ac-card-head"><h2>{{ t('topology.title') }}</h2><small class="ac-clip">{{ hint }}</small></div>
  <svg v-if="ring" viewBox="0 0 ${WIDTH} ${HEIGHT}">
    <template v-if="centre"><path v-for="star in stars.filter((o) => !o.leads)" :key="'e' + star.id" :d="edge(star)" :class="['ac-edge', star.live && 'ac-edge-live', star.gone && 'ac-edge-gone']"/></template>
    <a v-for="star in stars" :key="star.id" :href="url('/nodes/' + star.id)" :class="['ac-star', star.leads && 'ac-star-leader', star.gone && 'ac-star-offline']"
      :style="{transform: 'translate(' + star.x + 'px,' + star.y + 'px)'}"><title>{{ star.label }}</title>
      <circle class="ac-disc" r="${R}"/>
      <circle class="ac-arc" r="${R}" transform="rotate(-90)" :style="{stroke: star.tone, strokeDasharray: dash(star)}"/>
      <text class="ac-letter" aria-hidden="true" y="5" :style="{fill: star.tone}">{{ star.letter }}</text>
      <g v-if="star.leads" transform="translate(-9 -41) scale(.75)" class="ac-crown"><use href="#i-crown" width="24" height="24"/></g>
      <text class="ac-name" y="${R + 17}">{{ star.name }}</text>
      <text class="ac-told" y="${R + 32}">{{ star.told }}</text>
    </a>
    <text v-if="!centre && stars.length" x="${WIDTH / 2}" y="150" text-anchor="middle" style="fill: var(--ac-error); font-weight: 600">{{ t('topology.none') }}</text>
    <text v-if="stars.length === 1" x="${WIDTH / 2}" y="250" text-anchor="middle" style="fill: var(--ac-muted)">{{ t('topology.alone') }}</text>
    <text v-if="stars.length === 1" x="${WIDTH / 2}" y="272" text-anchor="middle" style="fill: var(--ac-text); font-family: var(--ac-mono); font-size: 12px">ariacluster up</text>
  </svg>
  <svg v-else viewBox="0 0 ${WIDTH} ${HEIGHT - 20}">
    <a v-for="c in cells" :key="c.id" :href="url('/nodes/' + c.id)" :aria-label="c.label" @mouseenter="over = c.id" @mouseleave="over = null" @focus="over = c.id" @blur="over = null"
      :style="{transform: 'translate(' + c.x + 'px,' + c.y + 'px)'}">
      <polygon class="ac-cell" :points="c.points" :style="{fill: c.fill}"/>
      <g v-if="c.leads" class="ac-crown" transform="translate(-9 -9) scale(.75)" style="stroke: var(--ac-text)"><use href="#i-crown" width="24" height="24"/></g>
      <text v-else-if="c.gone" aria-hidden="true" y="4" text-anchor="middle" style="fill: var(--ac-error); font-weight: 700; font-size: 12px">!</text>
    </a>
  </svg>
</section>`,
};
