// One of the icons of static/icons.svg, which stand in the page.
export const Icon = {
  props: { name: String },
  template: `<svg class="ac-icon" aria-hidden="true" focusable="false"><use :href="'#i-' + name"></use></svg>`,
};
