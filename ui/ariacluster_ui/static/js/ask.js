// A question in a dialog of the browser's own: it keeps the focus, and Escape is a no. On a phone it comes from below.
// Fields: {name, type, label, value, help, options, unit, placeholder}; types: text, number, choice, check.
import { t, Icon } from "ariacluster";

export default {
  components: { Icon },
  props: { heading: String, text: String, points: Array, fields: Array, action: String, refusal: String, danger: Boolean, error: String, errorField: String, busy: Boolean },
  emits: ["yes", "no"],
  data() {
    return { values: Object.fromEntries((this.fields || []).map((f) => [f.name, f.value ?? ""])) };
  },
  mounted() {
    this.back = document.activeElement;
    this.$refs.dialog.showModal();
    const first = this.$refs.dialog.querySelector("input:not([type=radio]), select, input:checked");
    (first || (this.danger ? this.$refs.no : this.$refs.yes)).focus(); // what cannot be undone is not one careless Enter away
    first?.select?.();
  },
  unmounted() {
    this.back?.focus?.();
  },
  methods: {
    t,
    yes() {
      if (!this.busy) this.$emit("yes", { ...this.values });
    },
    no() {
      this.$emit("no");
    },
    outside(event) {
      if (event.target === this.$refs.dialog) this.no();
    },
  },
  template: `
<dialog ref="dialog" class="ac-dialog" :aria-label="heading" @cancel.prevent="no" @pointerdown="outside">
  <form method="dialog" @submit.prevent="yes">
    <header><h2>{{ heading }}</h2><button type="button" class="ac-icon-button" :aria-label="t('close')" @click="no"><Icon name="x"/></button></header>
    <div class="ac-dialog-body">
      <p v-if="text">{{ text }}</p>
      <ul v-if="points && points.length"><li v-for="p in points" :key="p">{{ p }}</li></ul>
      <template v-for="f in fields" :key="f.name">
        <fieldset v-if="f.type === 'choice'" class="ac-choices"><legend>{{ f.label }}</legend>
          <label v-for="o in f.options" :key="o.value" :class="['ac-choice', values[f.name] === o.value && 'ac-chosen']">
            <input type="radio" :name="f.name" :value="o.value" v-model="values[f.name]"><span><b>{{ o.label }}</b><small v-if="o.help">{{ o.help }}</small></span></label>
        </fieldset>
        <label v-else-if="f.type === 'check'" class="ac-check"><input type="checkbox" v-model="values[f.name]"><span>{{ f.label }}</span></label>
        <label v-else class="ac-field"><span>{{ f.label }}</span>
          <input :type="f.type === 'number' ? 'number' : 'text'" :name="f.name" v-model="values[f.name]" :placeholder="f.placeholder" :aria-invalid="errorField === f.name ? 'true' : null" autocomplete="off" spellcheck="false">
          <small v-if="f.help">{{ f.help }}</small></label>
      </template>
      <p v-if="error" class="ac-refusal" role="alert"><Icon name="circle-alert"/>{{ error }}</p>
    </div>
    <footer><button ref="no" type="button" class="ac-button ac-quiet" @click="no">{{ refusal || t('cancel') }}</button>
      <button ref="yes" type="submit" :class="['ac-button', 'ac-primary', danger && 'ac-danger']" :disabled="busy">{{ action }}</button></footer>
  </form>
</dialog>`,
};
