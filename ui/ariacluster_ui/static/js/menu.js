// A menu behind a button: arrows, Home, End, Escape, a click elsewhere. Items: {id, text, icon, danger, href, disabled, line}.
import { Icon } from "./icon.js";

let open = null;
addEventListener("scroll", () => open?.close(), { passive: true, capture: true });
addEventListener("pointerdown", (event) => {
  if (open && !open.$el.contains(event.target)) open.close();
});

// To another of the entries of a menu, as a key says; whether it said so.
export function walk(entries, event) {
  const at = entries.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
  if (to === undefined) return false;
  entries[(to + entries.length) % entries.length]?.focus();
  return true;
}

export const Menu = {
  components: { Icon },
  props: { items: Array, label: String },
  emits: ["pick"],
  data: () => ({ shown: false, place: null }),
  methods: {
    async toggle() {
      if (this.shown) return this.close();
      open?.close();
      open = this;
      this.shown = true;
      this.place = { visibility: "hidden" };
      await this.$nextTick();
      this.place = this.beside();
      await this.$nextTick();
      this.entries()[0]?.focus({ preventScroll: true });
      return undefined;
    },
    // Below the button or above it, wherever there is room: a scrolling parent does not cut it off.
    beside() {
      const button = this.$refs.button.getBoundingClientRect();
      const list = this.$refs.list.getBoundingClientRect();
      const below = button.bottom + 4 + list.height < innerHeight;
      const left = Math.max(8, Math.min(button.right - list.width, innerWidth - list.width - 8));
      return { left: `${left}px`, top: `${below ? button.bottom + 4 : Math.max(8, button.top - list.height - 4)}px` };
    },
    close(back = false) {
      this.shown = false;
      if (open === this) open = null;
      if (back) this.$refs.button.focus();
    },
    entries() {
      return [...(this.$refs.list?.querySelectorAll("[role=menuitem]:not([aria-disabled])") || [])];
    },
    key(event) {
      if (!walk(this.entries(), event)) {
        if (event.key !== "Escape" && event.key !== "Tab") return;
        this.close(event.key === "Escape");
      }
      if (event.key !== "Tab") event.preventDefault();
      event.stopPropagation();
    },
    pick(item) {
      if (item.disabled) return;
      this.close(true);
      this.$emit("pick", item.id);
    },
  },
  template: `
<div class="ac-menu" @click.stop>
  <button ref="button" type="button" class="ac-icon-button" aria-haspopup="menu" :aria-expanded="shown ? 'true' : 'false'" :aria-label="label" @click="toggle"><slot><Icon name="ellipsis-vertical"/></slot></button>
  <div v-if="shown" ref="list" role="menu" class="ac-menu-list" :style="place" @keydown="key">
    <template v-for="i in items" :key="i.id"><hr v-if="i.line">
      <a v-if="i.href" role="menuitem" tabindex="-1" :href="i.href" target="_blank" rel="noopener" @click="close()"><Icon :name="i.icon"/>{{ i.text }}</a>
      <button v-else type="button" role="menuitem" tabindex="-1" :class="i.danger && 'ac-danger'" :aria-disabled="i.disabled ? 'true' : null" @click="pick(i)"><Icon :name="i.icon"/>{{ i.text }}</button>
    </template>
  </div>
</div>`,
};
