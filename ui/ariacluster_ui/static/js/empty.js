import { url, Icon } from "ariacluster";

export default {
  components: { Icon },
  props: { icon: String, heading: String, text: String, action: String, to: String, code: String },
  methods: { url },
  template: `
<div class="ac-empty"><Icon :name="icon"/><b>{{ heading }}</b><p v-if="text">{{ text }}</p>
  <code v-if="code" class="ac-code">{{ code }}</code>
  <a v-if="action" class="ac-button" :href="url(to)">{{ action }}</a></div>`,
};
