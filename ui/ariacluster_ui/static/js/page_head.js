// The title of a page, the state of the cluster below it, and what is wrong, the worst first.
import { A, s, t, url, asSeen, format, around, Icon } from "ariacluster";

export default {
  components: { Icon },
  props: { title: String, wants: Array, problems: Boolean, back: String, backText: String },
  emits: ["add"],
  data: () => ({ s }),
  computed: {
    g() {
      return this.s.glance;
    },
    // Nothing was ever heard: what the page would show is not known.
    nothing() {
      return this.s.ready && this.g.lost && this.g.members === undefined;
    },
    tone() {
      if (this.g.lost || this.g.leader === null) return "error";
      return this.g.online < this.g.members ? "warn" : "ok";
    },
  },
  watch: {
    nothing: {
      immediate: true,
      handler(now) {
        document.documentElement.classList.toggle("ac-nothing", !!now);
      },
    },
    title: {
      immediate: true,
      handler(title) {
        document.title = title ? `${title} · Aria Cluster` : "Aria Cluster";
      },
    },
  },
  mounted() {
    // What another page did not want was not told; begin with all of it.
    const asked = (this.wants || []).join();
    if (window.AC_WANTS !== undefined && window.AC_WANTS !== asked) A.boot();
    window.AC_WANTS = asked;
  },
  methods: { t, url, asSeen, around, count: format.count },
  template: `
<div class="ac-head">
  <div class="ac-head-line">
    <div>
      <a v-if="back" class="ac-back" :href="url(asSeen(back))"><Icon name="chevron-left"/>{{ backText }}</a>
      <h1><bdi>{{ title }}</bdi></h1>
      <p v-if="g.members !== undefined" class="ac-sub">
        <i :class="'ac-dot ac-dot-' + tone"></i>
        <span>{{ g.online === g.members ? t('head.all_online', {n: g.members}) : t('head.online', {n: g.online, all: g.members}) }}</span>
        <template v-if="g.leader"><span class="ac-sep ac-wide">·</span><span class="ac-wide ac-lead"><Icon name="crown"/><bdi>{{ g.leader.name }}</bdi>&nbsp;{{ t('head.leads', {term: String(g.term)}) }}</span></template>
        <template v-if="g.stale"><span class="ac-sep">·</span><span>{{ t('head.stale') }}</span></template>
      </p>
      <p v-else class="ac-sub"><span>{{ g.lost ? t('head.waiting') : t('head.loading') }}</span></p>
    </div>
    <div class="ac-head-end"><slot></slot>
      <button class="ac-button ac-primary ac-add" type="button" @click="$emit('add')"><Icon name="plus"/>{{ t('add.button') }}<kbd>A</kbd></button>
    </div>
  </div>
  <div v-if="problems && (g.problems || []).length" class="ac-problems" role="region" :aria-label="t('problem.label')">
    <div v-for="(p, i) in g.problems" :key="p.text" :class="'ac-problem ac-problem-' + p.tone">
      <Icon :name="p.icon"/>
      <p><template v-for="(part, at) in around(p.text, p.strong)"><b v-if="at === 1 && part"><bdi>{{ part }}</bdi></b><template v-else>{{ part }}</template></template></p>
      <a v-if="p.to" :href="url(p.to)">{{ p.strong ? t('problem.view') : t('problem.view_all') }}</a>
    </div>
  </div>
  <div v-if="nothing" class="ac-card ac-empty"><Icon name="unplug"/><b>{{ t('nothing.title', {url: g.url}) }}</b><p>{{ t('nothing.text') }}</p><code class="ac-code">ariacluster up</code><p>{{ g.lost }}</p></div>
</div>`,
};
