// What runs on one node now.
import { A, s, t, url, format, Icon } from "ariacluster";

export default {
  components: { Icon },
  props: { node: String, name: String },
  data: () => ({ s, rows: [], asked: false }),
  created() {
    this.stop = A.reads("node_tasks", (news) => {
      this.rows = news.rows;
      this.asked = true;
    });
  },
  unmounted() {
    this.stop();
  },
  methods: {
    t,
    url,
    speed: format.speed,
    percent: format.percent,
    size: format.size,
    eta: (r) => format.eta(r.done, r.total, r.speed),
  },
  template: `
<section class="ac-card" :aria-label="t('node.tasks')">
  <div class="ac-card-head"><h2>{{ t('node.tasks') }}</h2><a class="ac-more" :href="url('/tasks?node=' + encodeURIComponent(name))">{{ t('node.all_tasks') }}<Icon name="chevron-right"/></a></div>
  <ul v-if="rows.length" class="ac-list"><li v-for="r in rows" :key="r.id"><a class="ac-fast-row ac-short" :href="url('/tasks/' + r.id)">
    <span><b class="ac-clip"><bdi>{{ r.name }}</bdi></b><span class="ac-fast-bar"><span class="ac-bar"><i :style="{width: r.pct + '%'}"></i></span><span>{{ r.total ? percent(r.pct) + ' ' + t('of', {size: size(r.total)}) : size(r.done) }}</span></span></span>
    <span class="ac-fast-speed"><b>{{ speed(r.speed) }}</b><small>{{ eta(r) }}</small></span></a></li></ul>
  <div v-else-if="asked" class="ac-empty"><Icon name="inbox"/><b>{{ t('node.no_tasks') }}</b><p>{{ t('node.no_tasks_text') }}</p></div>
  <div v-else class="ac-bones"></div>
</section>`,
};
