// What the keyboard can do, in a dialog: `?` on every page.
import { t, Icon } from "./index.js";

const EVERYWHERE = ["add", "search", "go", "undo", "help"];
const LIST = ["move", "range", "choose", "all", "open", "pause", "remove", "menu"];

export const Keys = {
  components: { Icon },
  data: () => ({ shown: false, groups: { everywhere: EVERYWHERE, list: LIST } }),
  methods: {
    t,
    async show() {
      this.shown = true;
      await this.$nextTick();
      this.$refs.dialog.showModal();
    },
    outside(event) {
      if (event.target === this.$refs.dialog) this.$refs.dialog.close();
    },
  },
  template: `
<dialog v-if="shown" ref="dialog" class="ac-dialog ac-keyhelp" :aria-label="t('keys.title')" @close="shown = false" @pointerdown="outside">
  <header><h2>{{ t('keys.title') }}</h2><button type="button" class="ac-icon-button" :aria-label="t('close')" @click="$refs.dialog.close()"><Icon name="x"/></button></header>
  <template v-for="(keys, group) in groups" :key="group"><h3>{{ t('keys.' + group) }}</h3>
    <dl><template v-for="k in keys" :key="k"><dt><kbd v-for="one in t('keys.' + k).split(' ')" :key="one">{{ one }}</kbd></dt><dd>{{ t('keys.' + k + '.text') }}</dd></template></dl></template>
</dialog>`,
};
