// The fastest downloads.
import { s, t, url, format, spark, NodeChip, Icon } from "ariacluster";

export default {
  components: { NodeChip, Icon },
  data: () => ({ s }),
  computed: {
    rows() {
      return s.fast.map((row) => ({
        ...row,
        line: spark(s.sparks[row.id] || [row.speed], 96, 24, { top: 4, least: 30 }),
        eta: format.eta(row.done, row.total, row.speed),
      }));
    },
  },
  methods: { t, url, size: format.size, speed: format.speed, percent: format.percent },
  template: `
<section class="ac-card" :aria-label="t('fast.title')">
  <div class="ac-card-head"><h2>{{ t('fast.title') }}</h2><a class="ac-more" :href="url('/tasks')">{{ t('fast.all') }}<Icon name="chevron-right"/></a></div>
  <TransitionGroup v-if="rows.length" tag="ul" name="ac-move" class="ac-list">
    <li v-for="r in rows" :key="r.id"><a class="ac-fast-row" :href="url('/tasks/' + r.id)">
      <span><b class="ac-clip"><bdi>{{ r.name }}</bdi></b>
        <span class="ac-fast-bar"><span class="ac-bar"><i :style="{width: r.pct + '%'}"></i></span><span>{{ r.total ? percent(r.pct) + ' ' + t('of', {size: size(r.total)}) : size(r.done) }}</span></span></span>
      <svg class="ac-spark" viewBox="0 0 96 24" preserveAspectRatio="none" aria-hidden="true"><path :d="r.line.line"/><path :d="r.line.area"/></svg>
      <span class="ac-fast-speed"><b>{{ speed(r.speed) }}</b><small>{{ r.eta }}</small></span>
      <NodeChip :id="r.node"/>
    </a></li>
  </TransitionGroup>
  <div v-else class="ac-empty"><Icon name="download"/><b>{{ t(s.glance.tasks ? 'fast.idle' : 'fast.empty') }}</b><p>{{ t(s.glance.tasks ? 'fast.idle_text' : 'fast.empty_text') }}</p>
    <code v-if="!s.glance.tasks" class="ac-code">{{ t('fast.code') }}</code></div>
</section>`,
};
