// The settings of the cluster as text. Only what was changed is saved, and all of it at once.
import { s, t, url, theme, Icon } from "ariacluster";

const SECTIONS = [
  { name: "limits", icon: "gauge", fields: ["min_free", "origin_connections"] },
  { name: "retries", icon: "rotate-ccw", fields: ["max_attempts", "retry_pause", "retry_pause_longest"] },
  { name: "nodes", icon: "server", fields: ["slots", "node_timeout", "forget_after"] },
];

export default {
  components: { Icon },
  props: { values: Object, strategies: Array, error: String, errorField: String },
  emits: ["load", "save"],
  data: () => ({ s, now: null, busy: false, sections: SECTIONS, themes: [{ name: "light", icon: "sun" }, { name: "auto", icon: "monitor" }, { name: "dark", icon: "moon" }] }),
  computed: {
    changes() {
      if (!this.now || !this.values) return {};
      const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
      return Object.fromEntries(Object.entries(this.now).filter(([name, value]) => !same(value, this.values[name])));
    },
    dirty() {
      return Object.keys(this.changes).length > 0;
    },
  },
  watch: {
    values: {
      immediate: true,
      handler(values) {
        this.now = values ? JSON.parse(JSON.stringify(values)) : null;
        this.busy = false;
      },
    },
    error() {
      this.busy = false;
    },
  },
  mounted() {
    this.$emit("load", null);
  },
  methods: {
    t,
    url,
    theme,
    save() {
      if (!this.dirty || this.busy) return;
      this.busy = true;
      setTimeout(() => { this.busy = false; }, 12000);
      this.$emit("save", this.changes);
    },
    undo() {
      this.now = JSON.parse(JSON.stringify(this.values));
    },
    addLimit() {
      this.now.origin_limits.push(["", ""]);
      this.$nextTick(() => [...this.$el.querySelectorAll(".ac-origin input")].at(-2)?.focus());
    },
  },
  template: `
<form class="ac-settings" @submit.prevent="save">
  <template v-if="now">
    <section class="ac-card ac-section"><div class="ac-section-head"><Icon name="shuffle"/><h2>{{ t('settings.strategy') }}</h2><p>{{ t('settings.strategy_text') }}</p></div>
      <div class="ac-choices" role="radiogroup" :aria-label="t('settings.strategy')">
        <label v-for="o in strategies" :key="o" :class="['ac-choice', now.strategy === o && 'ac-chosen']"><input type="radio" name="strategy" :value="o" v-model="now.strategy"><span><b>{{ t('strategy.' + o) }}</b><small>{{ t('strategy.' + o + '.text') }}</small></span></label>
      </div></section>
    <section v-for="section in sections" :key="section.name" class="ac-card ac-section"><div class="ac-section-head"><Icon :name="section.icon"/><h2>{{ t('settings.' + section.name) }}</h2><p>{{ t('settings.' + section.name + '_text') }}</p></div>
      <div class="ac-section-fields">
        <label v-for="f in section.fields" :key="f" class="ac-field"><span>{{ t('set.' + f) }}</span>
          <input type="text" :name="f" v-model="now[f]" :placeholder="t('set.' + f + '.none')" autocomplete="off" spellcheck="false" :aria-invalid="errorField === f ? 'true' : null"><small>{{ t('set.' + f + '.help') }}</small></label>
        <div v-if="section.name === 'limits'" class="ac-field ac-origins"><span>{{ t('set.origin_limits') }}</span>
          <div v-for="(pair, i) in now.origin_limits" :key="i" class="ac-origin"><input class="ac-input" v-model="pair[0]" placeholder="mirror.example.org" :aria-label="t('set.origin')" spellcheck="false"><input class="ac-input" v-model="pair[1]" placeholder="4" inputmode="numeric" :aria-label="t('set.origin_limit')"><button type="button" class="ac-icon-button" :aria-label="t('set.origin_remove', {origin: pair[0]})" @click="now.origin_limits.splice(i, 1)"><Icon name="x"/></button></div>
          <button type="button" class="ac-button" @click="addLimit"><Icon name="plus"/>{{ t('set.origin_add') }}</button><small>{{ t('set.origin_limits.help') }}</small></div>
      </div></section>
  </template>
  <template v-else-if="!error"><div class="ac-bones"></div><div class="ac-bones"></div></template>
  <section class="ac-card ac-section"><div class="ac-section-head"><Icon name="sun"/><h2>{{ t('theme.label') }}</h2><p>{{ t('settings.theme_text') }}</p></div>
    <div class="ac-section-fields"><div class="ac-segments ac-themes" role="group" :aria-label="t('theme.label')"><button v-for="o in themes" :key="o.name" type="button" :aria-pressed="s.theme === o.name ? 'true' : 'false'" @click="theme(o.name)"><Icon :name="o.icon"/>{{ t('theme.' + o.name) }}</button></div></div></section>
  <section class="ac-card ac-section"><div class="ac-section-head"><Icon name="info"/><h2>{{ t('settings.about') }}</h2><p>{{ t(s.glance.mode === 'open' ? 'settings.open' : 'settings.locked') }}</p></div>
    <dl class="ac-facts"><div><dt>{{ t('about.cluster') }}</dt><dd>{{ s.glance.cluster }}</dd></div><div><dt>{{ t('about.node') }}</dt><dd class="ac-clip"><bdi>{{ s.glance.here?.name }}</bdi></dd></div><div><dt>{{ t('fact.version') }}</dt><dd>{{ s.glance.version }}</dd></div><div><dt>{{ t('about.voters') }}</dt><dd>{{ s.glance.voters }}</dd></div><div><dt>{{ t('about.api') }}</dt><dd class="ac-clip ac-mono">{{ s.glance.url }}</dd></div></dl>
    <p class="ac-keys"><span v-for="k in ['a', '/', 'g d', 'g t', 'g n', 'g a', 'g s']" :key="k"><kbd v-for="one in k.split(' ')" :key="one">{{ one }}</kbd> {{ t('key.' + k) }}</span></p></section>
  <p v-if="error" class="ac-refusal" role="alert"><Icon name="circle-alert"/>{{ error }}</p>
  <Transition name="ac-toast"><div v-if="dirty" class="ac-savebar"><span>{{ t('settings.changed', {n: Object.keys(changes).length}) }}</span><button type="button" class="ac-button ac-quiet" @click="undo">{{ t('settings.undo') }}</button><button type="submit" class="ac-button ac-primary" :disabled="busy">{{ t('save') }}</button></div></Transition>
</form>`,
};
