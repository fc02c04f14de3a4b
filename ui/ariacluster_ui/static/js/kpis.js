// The five numbers.
import { s, t, url, format, spark, Icon } from "ariacluster";

export default {
  components: { Icon },
  data: () => ({ s }),
  computed: {
    g() {
      return this.s.glance;
    },
    speeds() {
      return ["down", "up"].map((way) => {
        const [value, unit] = format.speedParts(this.g[way] || 0);
        const values = s[way].slice(-150);
        const peak = Math.max(0, ...s[way]);
        return { way, value, unit, peak: format.speed(peak), line: spark(values, 200, 66, { top: 16, least: 2 }) };
      });
    },
    free() {
      const [value, unit] = format.sizeParts(this.g.disk_free || 0);
      const used = this.g.disk_total ? 1 - this.g.disk_free / this.g.disk_total : 0;
      return { value, unit, used, tone: used > 0.93 ? "error" : used > 0.85 ? "warn" : "accent" };
    },
    failed() {
      return this.g.counts?.failed || 0;
    },
    paused() {
      return this.g.counts?.paused || 0;
    },
  },
  methods: { t, url, count: format.count, size: format.size },
  template: `
<div class="ac-kpis">
  <svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
    <linearGradient id="ac-fade-down" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="var(--ac-accent)" stop-opacity=".26"/><stop offset="1" stop-color="var(--ac-accent)" stop-opacity="0"/></linearGradient>
    <linearGradient id="ac-fade-up" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="var(--ac-up)" stop-opacity=".26"/><stop offset="1" stop-color="var(--ac-up)" stop-opacity="0"/></linearGradient>
  </defs></svg>
  <div v-for="one in speeds" :key="one.way" :class="'ac-card ac-kpi ac-kpi-' + one.way">
    <div class="ac-kpi-name"><Icon :name="one.way === 'down' ? 'arrow-down' : 'arrow-up'"/>{{ t('kpi.' + one.way) }}</div>
    <div class="ac-kpi-number">{{ one.value }}<small>{{ one.unit }}</small></div>
    <div class="ac-kpi-note">{{ t('kpi.peak', {speed: one.peak}) }}</div>
    <div class="ac-kpi-spark" aria-hidden="true"><svg class="ac-spark" viewBox="0 0 200 66" preserveAspectRatio="none" :style="{'--tone': one.way === 'down' ? 'var(--ac-accent)' : 'var(--ac-up)'}">
      <path :d="one.line.line"/><path class="ac-area" :d="one.line.area"/></svg></div>
  </div>
  <div class="ac-card ac-kpi">
    <div class="ac-kpi-name"><Icon name="zap"/>{{ t('kpi.active') }}</div>
    <div class="ac-kpi-number">{{ count(g.active) }}<small>{{ t('kpi.of_slots', {n: g.slots || 0}) }}</small></div>
    <div class="ac-bar" role="img" :aria-label="t('kpi.slots_used', {used: g.used || 0, n: g.slots || 0})"><i :style="{width: (g.slots ? 100 * g.used / g.slots : 0) + '%'}"></i></div>
  </div>
  <div class="ac-card ac-kpi">
    <div class="ac-kpi-name"><Icon name="clock"/>{{ t('kpi.queue') }}</div>
    <div class="ac-kpi-number">{{ count(g.waiting) }}</div>
    <div class="ac-kpi-note"><span v-if="paused">{{ t('kpi.paused', {n: paused}) }}</span><span v-if="paused && failed"> · </span><a v-if="failed" :href="url('/tasks?status=failed')">{{ t('kpi.failed', {n: failed}) }}</a><span v-if="!paused && !failed">{{ t('kpi.none_failed') }}</span></div>
  </div>
  <div class="ac-card ac-kpi">
    <div class="ac-kpi-name"><Icon name="hard-drive"/>{{ t('kpi.free') }}</div>
    <div class="ac-kpi-number">{{ free.value }}<small>{{ free.unit }}</small></div>
    <div class="ac-kpi-note" v-if="g.disk_total">{{ t('kpi.of_disk', {size: size(g.disk_total)}) }}</div>
    <div :class="'ac-bar ac-tone-' + free.tone" role="img" :aria-label="t('kpi.disk_used', {percent: Math.round(100 * free.used)})"><i :style="{width: 100 * free.used + '%'}"></i></div>
  </div>
</div>`,
};
