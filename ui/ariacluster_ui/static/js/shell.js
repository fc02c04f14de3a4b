// What surrounds every page: the rail (a bar at the bottom of a phone), the line's state, and what is told in passing.
import { A, s, t, url, theme, dismiss, format, Icon } from "ariacluster";
import { Keys } from "ariacluster/keys.js";

const PLACES = [
  { path: "/", icon: "layout-dashboard", key: "nav.dashboard" },
  { path: "/tasks", icon: "download", key: "nav.tasks" },
  { path: "/nodes", icon: "server", key: "nav.nodes" },
  { path: "/activity", icon: "activity", key: "nav.activity" },
  { path: "/settings", icon: "settings", key: "nav.settings" },
];
const THEMES = [
  { name: "light", icon: "sun" },
  { name: "auto", icon: "monitor" },
  { name: "dark", icon: "moon" },
];

export default {
  components: { Icon, Keys },
  emits: ["add", "visible", "toast", "go"],
  data: () => ({ s, places: PLACES, themes: THEMES, chord: false, clock: Date.now() / 1000 }),
  computed: {
    g() {
      return this.s.glance;
    },
    // None, or what is wrong with the line and since how long nothing came.
    line() {
      if (!s.online) return { text: t("line.server"), age: this.clock - s.offlineSince };
      if (s.ready && this.g.lost) {
        const age = this.g.age === null || this.g.age === undefined ? null : this.g.age;
        return { text: t("line.node"), why: this.g.lost, age };
      }
      return null;
    },
    ageText() {
      const age = this.line?.age;
      if (age === null || age === undefined) return t("line.nothing");
      return t("line.age", { age: format.duration(age) });
    },
  },
  watch: {
    "line"(now) {
      document.documentElement.classList.toggle("ac-stale", !!now);
    },
  },
  mounted() {
    theme();
    addEventListener("keydown", this.key);
    document.addEventListener("visibilitychange", this.see);
    this.timer = setInterval(() => {
      this.clock = Date.now() / 1000;
    }, 1000);
    if (document.hidden) this.see();
  },
  unmounted() {
    removeEventListener("keydown", this.key);
    document.removeEventListener("visibilitychange", this.see);
    clearInterval(this.timer);
  },
  methods: {
    t,
    url,
    theme,
    dismiss,
    count: format.count,
    see() {
      this.$emit("visible", !document.hidden);
    },
    active(place) {
      const path = s.path.split("?")[0];
      return place.path === "/" ? path === "/" : path === place.path || path.startsWith(`${place.path}/`);
    },
    badge(place) {
      if (place.path === "/tasks" && this.g.tasks) return format.count(this.g.tasks);
      if (place.path === "/nodes" && this.g.members) return `${this.g.online}/${this.g.members}`;
      return "";
    },
    nextTheme() {
      theme(s.dark ? "light" : "dark");
    },
    act(toast) {
      this.$emit("toast", toast.id);
      dismiss(toast.id);
    },
    undo() {
      const last = s.toasts.filter((one) => one.action).pop();
      if (last) this.act(last);
    },
    // g d, g t, g n, g a, g s: to a page. Nothing is taken from who writes somewhere.
    key(event) {
      const at = event.target;
      if (document.querySelector("dialog[open]")) return;
      if (event.key === "z" && !event.altKey && !at.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]")) {
        this.undo();
        return;
      }
      if (event.metaKey || event.ctrlKey || event.altKey) return;
      if (at.closest?.("input, textarea, select, [contenteditable]") || document.querySelector(".q-dialog")) return;
      if (this.chord) {
        this.chord = false;
        const to = { d: "/", t: "/tasks", n: "/nodes", a: "/activity", e: "/activity", s: "/settings" }[event.key];
        if (to) {
          event.preventDefault();
          A.go(to);
        }
        return;
      }
      if (event.key === "g") {
        this.chord = true;
        setTimeout(() => {
          this.chord = false;
        }, 1500);
      } else if (event.key === "?") {
        event.preventDefault();
        this.$refs.keys.show();
      } else if (event.key === "a") {
        event.preventDefault();
        this.$emit("add");
      } else if (event.key === "/" && !document.querySelector("[data-ac-search]")) {
        event.preventDefault();
        A.go("/tasks?focus=search");
      }
    },
  },
  template: `
<div class="ac-shell">
  <a class="ac-skip" href="#ac-content">{{ t('nav.skip') }}</a>
  <div class="ac-rail">
    <a class="ac-brand" :href="url('/')"><span class="ac-logo"><Icon name="layers"/></span><span>Aria Cluster</span></a>
    <nav :aria-label="t('nav.label')">
      <a v-for="p in places" :key="p.path" class="ac-nav" :href="url(p.path)" :aria-current="active(p) ? 'page' : null">
        <Icon :name="p.icon"/><span>{{ t(p.key) }}</span><small v-if="badge(p)">{{ badge(p) }}</small>
      </a>
    </nav>
    <div class="ac-rail-end">
      <div class="ac-segments" role="group" :aria-label="t('theme.label')">
        <button v-for="o in themes" :key="o.name" type="button" :aria-pressed="s.theme === o.name ? 'true' : 'false'"
          :aria-label="t('theme.' + o.name)" :title="t('theme.' + o.name)" @click="theme(o.name)"><Icon :name="o.icon"/></button>
      </div>
      <a v-if="g.here" class="ac-here" :href="url('/nodes/' + g.here.id)">
        <i :class="g.lost ? 'ac-dot ac-dot-error' : 'ac-dot ac-dot-ok'"></i>
        <span><b><bdi>{{ g.here.name }}</bdi></b><small>{{ g.members > 1 ? t('nav.here', {n: g.members - 1}) : t('nav.here.alone') }}</small></span>
      </a>
    </div>
  </div>
  <div class="ac-topbar">
    <a class="ac-brand" :href="url('/')"><span class="ac-logo"><Icon name="layers"/></span><span>Aria Cluster</span></a>
    <a class="ac-icon-button" :href="url('/tasks?focus=search')" :aria-label="t('nav.search')"><Icon name="search"/></a>
    <button class="ac-icon-button" type="button" :aria-label="t('theme.toggle')" @click="nextTheme"><Icon :name="s.dark ? 'sun' : 'moon'"/></button>
    <a class="ac-icon-button" :href="url('/settings')" :aria-label="t('nav.settings')"><Icon name="settings"/></a>
  </div>
  <nav class="ac-bottom" :aria-label="t('nav.label_phone')">
    <a v-for="p in places.slice(0, 4)" :key="p.path" :href="url(p.path)" :aria-current="active(p) ? 'page' : null">
      <Icon :name="p.icon"/><span>{{ t(p.key) }}</span>
    </a>
  </nav>
  <button class="ac-fab" type="button" :aria-label="t('add.button')" @click="$emit('add')"><Icon name="plus"/></button>
  <Transition name="ac-pill">
    <div v-if="line" class="ac-line" role="alert"><i class="ac-dot ac-dot-error"></i>
      <span><b>{{ line.text }}</b> {{ ageText }}</span></div>
  </Transition>
  <Keys ref="keys"/>
  <div class="ac-toasts" role="status" aria-live="polite">
    <TransitionGroup name="ac-toast">
      <div v-for="one in s.toasts" :key="one.id" :class="'ac-toast ac-toast-' + one.tone">
        <Icon v-if="one.tone === 'error'" name="circle-alert"/><Icon v-else-if="one.tone === 'ok'" name="check"/>
        <span>{{ one.text }}</span>
        <button v-if="one.action" type="button" @click="act(one)">{{ one.action }}</button>
        <button v-else type="button" class="ac-toast-x" :aria-label="t('close')" @click="dismiss(one.id)"><Icon name="x"/></button>
      </div>
    </TransitionGroup>
  </div>
</div>`,
};
