// What happened last.
import { s, t, url, around, format, nodeName, Icon } from "ariacluster";

// Steps on the way; here only what came of them is told.
const STEPS = new Set(["task_assigned", "task_started"]);

export default {
  components: { Icon },
  props: { node: String, most: { type: Number, default: 9 }, more: String },
  data: () => ({ s }),
  computed: {
    rows() {
      const all = s.history.filter((row) => (this.node ? row.node === this.node : !STEPS.has(row.kind)));
      return all.slice(0, this.most);
    },
  },
  methods: {
    t,
    url,
    around,
    nodeName,
    ago(row) {
      const age = s.now - row.at;
      return age < 1.5 ? t("now") : format.ago(age);
    },
  },
  template: `
<section class="ac-card ac-feed" :aria-label="t('feed.title')">
  <div class="ac-card-head"><h2>{{ t('feed.title') }}</h2><a class="ac-more" :href="url(more || '/activity')">{{ t('feed.all') }}<Icon name="chevron-right"/></a></div>
  <TransitionGroup v-if="rows.length" tag="ul" name="ac-move" class="ac-list">
    <li v-for="r in rows" :key="r.seq"><component :is="r.to ? 'a' : 'div'" :href="r.to ? url(r.to) : null" class="ac-feed-row">
      <span :class="'ac-tile ac-tone-' + r.tone"><Icon :name="r.icon"/></span>
      <p><template v-for="(part, i) in around(r.text, r.strong)"><b v-if="i === 1 && part"><bdi>{{ part }}</bdi></b><template v-else>{{ part }}</template></template></p>
      <time :datetime="new Date(r.at * 1000).toISOString()">{{ ago(r) }}</time>
    </component></li>
  </TransitionGroup>
  <div v-else class="ac-empty"><Icon name="activity"/><b>{{ t('feed.empty') }}</b><p>{{ t('feed.empty_text') }}</p></div>
</section>`,
};
