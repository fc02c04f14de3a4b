// What happened, the newest first: live at the top, older ones when asked for. Filter and node are in the URL.
import { A, s, t, url, around, nodeName, colour, Icon, params, query } from "ariacluster";

export default {
  components: { Icon },
  props: { groups: Object },
  emits: ["older"],
  data: () => ({ s, older: [], asking: false, ended: false, silent: false }),
  computed: {
    show() {
      const asked = params().get("show");
      return this.groups[asked] ? asked : "";
    },
    node: () => params().get("node") || "",
    live() {
      return s.history.filter(this.fits);
    },
    rows() {
      const oldest = this.older.length ? this.older[0].seq : -1;
      return [...this.live.filter((row) => row.seq > oldest), ...this.older];
    },
    days() {
      const found = [];
      for (const row of this.rows) {
        const day = new Date(row.at * 1000).toDateString();
        if (found[found.length - 1]?.day !== day) found.push({ day, name: this.dayName(row.at), rows: [] });
        found[found.length - 1].rows.push(row);
      }
      return found;
    },
    key() {
      return `${this.show}|${this.node}`;
    },
  },
  watch: {
    key() {
      this.older = [];
      this.ended = false;
      this.more();
    },
  },
  created() {
    this.stop = A.reads("older", (news) => this.take(news));
  },
  mounted() {
    this.more();
    this.$el.querySelector('[aria-pressed="true"]')?.scrollIntoView({ block: "nearest", inline: "center" });
    this.sight = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.more());
    this.sight.observe(this.$refs.end);
  },
  unmounted() {
    this.stop();
    this.sight.disconnect();
  },
  methods: {
    t,
    url,
    around,
    nodeName,
    colour,
    query,
    fits(row) {
      return (!this.show || this.groups[this.show].includes(row.kind)) && (!this.node || row.node === this.node);
    },
    more() {
      if (this.asking || this.ended) return;
      this.asking = true;
      const last = this.older[this.older.length - 1];
      this.$emit("older", { show: this.show, node: this.node, before: last ? last.seq : null, key: this.key });
    },
    take(news) {
      this.asking = false;
      if (news.key !== this.key) {
        this.more();
        return;
      }
      this.older = [...this.older, ...news.rows];
      this.ended = news.ended;
    },
    dayName(at) {
      const days = Math.round((new Date(s.now * 1000).setHours(0, 0, 0, 0) - new Date(at * 1000).setHours(0, 0, 0, 0)) / 86400000);
      if (days <= 1) return t(days < 1 ? "day.today" : "day.yesterday");
      return new Date(at * 1000).toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long" });
    },
    time: (at) => new Date(at * 1000).toLocaleTimeString("en-GB"),
  },
  template: `
<div class="ac-activity">
  <div class="ac-toolbar">
    <div class="ac-filters" role="group" :aria-label="t('activity.filter')">
      <button type="button" class="ac-filter" :aria-pressed="show ? 'false' : 'true'" @click="query({show: null})">{{ t('activity.all') }}</button>
      <button v-for="(kinds, g) in groups" :key="g" type="button" class="ac-filter" :aria-pressed="show === g ? 'true' : 'false'" @click="query({show: g})">{{ t('activity.' + g) }}</button>
    </div>
    <div class="ac-toolbar-end"><label class="ac-pick"><span class="ac-visually-gone">{{ t('activity.node') }}</span>
      <select class="ac-input" :value="node" @change="query({node: $event.target.value || null})"><option value="">{{ t('activity.every_node') }}</option>
        <option v-for="m in Object.values(s.members).sort((a, b) => a.name.localeCompare(b.name))" :key="m.id" :value="m.id">{{ m.name }}</option></select></label></div>
  </div>
  <section v-for="d in days" :key="d.day" class="ac-card ac-day"><div class="ac-card-head"><h2>{{ d.name }}</h2></div>
    <ol class="ac-list"><li v-for="r in d.rows" :key="r.seq"><component :is="r.to ? 'a' : 'div'" :href="r.to ? url(r.to) : null" :class="['ac-event', r.tone === 'gold' && 'ac-event-gold']">
      <time :datetime="new Date(r.at * 1000).toISOString()">{{ time(r.at) }}</time>
      <span :class="'ac-tile ac-tone-' + r.tone"><Icon :name="r.icon"/></span>
      <p><template v-for="(part, i) in around(r.text, r.strong)"><b v-if="i === 1 && part"><bdi>{{ part }}</bdi></b><template v-else>{{ part }}</template></template></p>
      <span class="ac-event-end"><span v-if="r.who" class="ac-tag" :title="t('activity.who', {who: r.who})"><Icon name="user"/><bdi class="ac-clip">{{ r.who }}</bdi></span>
        <span v-if="r.node" class="ac-chip-node ac-wide"><i :style="{background: colour(r.node)}"></i><bdi>{{ nodeName(r.node) }}</bdi></span></span>
    </component></li></ol></section>
  <div v-if="!rows.length && ended" class="ac-card ac-empty"><Icon name="activity"/><b>{{ t(show || node ? 'activity.none' : 'feed.empty') }}</b><p>{{ t(show || node ? 'activity.none_text' : 'feed.empty_text') }}</p>
    <button v-if="show || node" type="button" class="ac-button" @click="query({show: null, node: null})">{{ t('nodes.clear') }}</button></div>
  <div ref="end" class="ac-end-mark"><span v-if="rows.length && ended">{{ t('activity.end') }}</span></div>
</div>`,
};
