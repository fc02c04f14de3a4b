// The top of a node's own page: who it is, how it does, what can be done.
import { A, s, t, url, format, Icon, Menu } from "ariacluster";
import { look, orders, place, Bars, Slots } from "ariacluster/node_parts.js";

export default {
  components: { Icon, Menu, Bars, Slots },
  props: { node: String },
  emits: ["act"],
  data: () => ({ s }),
  computed: {
    n() {
      return s.members[this.node] ? look(this.node) : null;
    },
    facts() {
      const n = this.n;
      return [
        { name: t("fact.address"), text: n.address, mono: true },
        { name: t("fact.slots"), text: n.witness ? "—" : t("kpi.slots_used", { used: n.used, n: n.slots }) },
        { name: t("fact.down_limit"), text: n.down_limit ? format.speed(n.down_limit) : t("fact.unlimited") },
        { name: t("fact.up_limit"), text: n.up_limit ? format.speed(n.up_limit) : t("fact.unlimited") },
        { name: t("fact.peak"), text: n.peak ? format.speed(n.peak) : "—" },
        { name: t("fact.version"), text: n.version },
        { name: t("fact.engine"), text: n.engine ? `aria2 ${n.engine}` : "—" },
        { name: t("fact.id"), text: n.id, mono: true },
      ];
    },
    drain() {
      const n = this.n;
      if (n.status !== "draining") return "";
      const until = n.drain_until && n.drain_until > s.now ? t("node.until", { time: new Date(n.drain_until * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }) }) : "";
      return (n.left ? t("node.draining", { n: n.left }) : t("node.drained")) + (n.left ? until : "");
    },
  },
  methods: {
    t,
    url,
    orders,
    place,
    speed: format.speed,
    pick(id) {
      this.$emit("act", { verb: id, id: this.node });
    },
  },
  template: `
<div v-if="n" class="ac-card ac-hero">
  <div class="ac-hero-top">
    <span class="ac-letter-tile ac-big" :style="{background: n.fill}">{{ n.letter }}</span>
    <div class="ac-hero-name"><span class="ac-tags"><span :class="'ac-pill ac-tone-' + n.pill.tone"><Icon :name="n.pill.icon"/>{{ n.pill.text }}</span><span v-for="tag in n.tags" :key="tag" class="ac-tag"><Icon name="tag"/><bdi class="ac-clip">{{ tag }}</bdi></span></span>
      <small class="ac-muted">{{ t('role.' + n.role) }}<template v-if="n.up_for"> · {{ n.up_for }}</template></small></div>
    <div class="ac-hero-speeds"><span class="ac-down"><Icon name="arrow-down"/>{{ speed(n.down) }}</span><span class="ac-up"><Icon name="arrow-up"/>{{ speed(n.up) }}</span><Slots v-if="!n.witness" :n="n"/></div>
    <div class="ac-hero-do">
      <button v-if="n.status === 'draining'" type="button" class="ac-button" @click="pick('undrain')"><Icon name="play"/>{{ t('node.undrain') }}</button>
      <button v-else-if="!n.witness" type="button" class="ac-button" :disabled="n.gone" @click="pick('drain')"><Icon name="inbox"/>{{ t('node.drain') }}</button>
      <button v-if="!n.witness" type="button" class="ac-button" :disabled="n.gone" @click="pick('tune')"><Icon name="sliders-horizontal"/>{{ t('node.tune') }}</button>
      <Menu :items="orders(n, true).filter((o) => !['drain', 'undrain', 'tune'].includes(o.id))" :label="t('node.menu', {name: n.name})" @pick="pick"/>
    </div>
  </div>
  <p v-if="n.trouble" class="ac-trouble">{{ n.trouble }}</p>
  <p v-if="drain" class="ac-trouble">{{ drain }}</p>
  <div class="ac-hero-body"><Bars :n="n"/>
    <dl class="ac-facts"><div v-for="f in facts" :key="f.name"><dt>{{ f.name }}</dt><dd :class="['ac-clip', f.mono && 'ac-mono']" :title="f.text">{{ f.text }}</dd></div></dl></div>
</div>
<div v-else-if="s.ready" class="ac-card ac-empty"><Icon name="server"/><b>{{ t('node.unknown') }}</b><p>{{ t('node.unknown_text') }}</p><a class="ac-button" :href="url('/nodes')">{{ t('nodes.back') }}</a></div>`,
};
