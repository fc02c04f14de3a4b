// A menu at a point of the page: where somebody clicked with the other button, or pressed for long. Items as in menu.js.
import { Icon } from "./icon.js";
import { walk } from "./menu.js";

export const ContextMenu = {
  components: { Icon },
  props: { items: Array, label: String, x: Number, y: Number },
  emits: ["pick", "close"],
  data: () => ({ place: { visibility: "hidden" } }),
  async mounted() {
    this.back = document.activeElement;
    addEventListener("pointerdown", this.outside, true);
    addEventListener("scroll", this.leave, { passive: true, capture: true });
    addEventListener("resize", this.leave);
    // Where it was asked for, as far as it fits there.
    const box = this.$el.getBoundingClientRect();
    const within = (at, size, all) => `${Math.max(8, Math.min(at, all - size - 8))}px`;
    this.place = { left: within(this.x, box.width, innerWidth), top: within(this.y, box.height, innerHeight) };
    await this.$nextTick();
    this.entries()[0]?.focus({ preventScroll: true });
  },
  unmounted() {
    removeEventListener("pointerdown", this.outside, true);
    removeEventListener("scroll", this.leave, { capture: true });
    removeEventListener("resize", this.leave);
  },
  methods: {
    entries() {
      return [...this.$el.querySelectorAll("[role=menuitem]")];
    },
    outside(event) {
      if (!this.$el.contains(event.target)) this.leave();
    },
    leave() {
      this.$emit("close");
    },
    key(event) {
      if (!walk(this.entries(), event)) {
        if (event.key !== "Escape" && event.key !== "Tab") return;
        this.back?.focus?.({ preventScroll: true });
        this.leave();
      }
      event.preventDefault();
      event.stopPropagation();
    },
    pick(item) {
      this.back?.focus?.({ preventScroll: true });
      this.$emit("pick", item.id);
    },
  },
  template: `
<div role="menu" class="ac-menu-list ac-context" :aria-label="label" :style="place" @keydown="key" @contextmenu.prevent>
  <template v-for="i in items" :key="i.id"><hr v-if="i.line">
    <button type="button" role="menuitem" tabindex="-1" :class="i.danger && 'ac-danger'" @click.stop="pick(i)"><Icon :name="i.icon"/>{{ i.text }}<kbd v-if="i.key" class="ac-wide">{{ i.key }}</kbd></button></template>
</div>`,
};
