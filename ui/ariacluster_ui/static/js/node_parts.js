// What cards, rows and the page of a node have in common.
import { s, t, url, format, spark, colour, Icon } from "./index.js";

export function pill(m) {
  if (m.status === "offline") return { tone: "error", icon: "cloud-off", text: t("status.offline") };
  if (m.trouble) return { tone: "warn", icon: "triangle-alert", text: t("status.trouble") };
  if (m.status === "draining") return { tone: "warn", icon: "inbox", text: t("status.draining") };
  if (m.leads) return { tone: "gold", icon: "crown", text: t("status.leader") };
  if (m.witness) return { tone: "plain", icon: "eye", text: t("status.witness") };
  return { tone: m.status === "busy" ? "accent" : "ok", icon: m.status === "busy" ? "zap" : "check", text: t(`status.${m.status}`) };
}

// What a person can do with it. `here`: on its own page.
export function orders(m, here) {
  const gone = m.status === "offline";
  const found = [];
  if (!here) found.push({ id: "open", icon: "arrow-right", text: t("node.open") });
  if (!m.witness) {
    if (m.status === "draining") found.push({ id: "undrain", icon: "play", text: t("node.undrain") });
    else found.push({ id: "drain", icon: "inbox", text: t("node.drain"), disabled: gone });
    found.push({ id: "tune", icon: "sliders-horizontal", text: t("node.tune"), disabled: gone });
  }
  if (m.role === "voter" && !m.leads && !m.witness) found.push({ id: "lead", icon: "crown", text: t("node.lead"), disabled: gone });
  if (m.ui && !gone) found.push({ id: "ui", icon: "external-link", text: t("node.ui"), href: place(m) });
  found.push({ id: "remove", icon: "log-out", text: t("node.remove"), danger: true, line: true });
  return found;
}

// The same page as this one, at the web app of that node.
export function place(m) {
  const host = m.host.includes(":") ? `[${m.host}]` : m.host;
  return `http://${host}:${m.ui}/nodes/${encodeURIComponent(m.id)}`;
}

// Everything of a node that is shown, ready to be set.
export function look(id) {
  const m = s.members[id];
  const l = s.loads[id] || {};
  const [down, up] = s.speeds[id] || [0, 0];
  const gone = m.status === "offline";
  return {
    ...m,
    ...l,
    down,
    up,
    gone,
    used: Math.min(l.used || 0, m.slots),
    fill: gone ? "var(--ac-faint)" : colour(id),
    letter: [...m.name][0]?.toUpperCase(),
    pill: pill(m),
    full: l.disk ? 1 - l.free / l.disk : 0,
    place: m.address.replace(/:8000$/, ""),
    up_for: gone ? (l.seen ? t("node.seen", { ago: format.ago(s.now - l.seen) }) : "") : l.since === undefined ? "" : t("node.up", { time: format.ago(l.since) }),
    limit: m.down_limit ? format.speed(m.down_limit) : "",
  };
}

export const Bars = {
  props: { n: Object },
  setup: () => ({ t, size: format.size }),
  template: `
<dl class="ac-bars">
  <dt>{{ t('node.cpu') }}</dt><dd class="ac-bar"><i :style="{width: (n.cpu || 0) + '%'}"></i></dd><dd>{{ n.gone ? '—' : (n.cpu || 0) + '%' }}</dd>
  <dt>{{ t('node.memory') }}</dt><dd class="ac-bar"><i :style="{width: (n.mem || 0) + '%'}"></i></dd><dd>{{ n.gone ? '—' : (n.mem || 0) + '%' }}</dd>
  <dt>{{ t('node.disk') }}</dt><dd :class="'ac-bar ac-tone-' + n.tone"><i :style="{width: 100 * n.full + '%'}"></i></dd><dd :title="t('node.disk_title', {free: size(n.free || 0), total: size(n.disk || 0)})">{{ n.disk ? size(n.free) : '—' }}</dd>
</dl>`,
};

export const Slots = {
  props: { n: Object, most: { type: Number, default: 16 } },
  setup: () => ({ t }),
  template: `<span class="ac-slots" role="img" :aria-label="t('kpi.slots_used', {used: n.used, n: n.slots})" :title="t('kpi.slots_used', {used: n.used, n: n.slots})"><template v-if="n.slots <= most"><i v-for="c in n.slots" :key="c" :class="c <= n.used && 'ac-taken'" :style="{'--node': n.fill}"></i></template><span class="ac-num">{{ n.used }}/{{ n.slots }}</span></span>`,
};

export const Line = {
  props: { id: String, fill: String, wide: { type: Number, default: 240 }, high: { type: Number, default: 34 }, last: { type: Number, default: 150 } },
  setup(props) {
    return { path: () => spark((s.nodes[props.id] || []).slice(-props.last), props.wide, props.high, { top: 3, least: 30 }) };
  },
  template: `<svg class="ac-spark" :viewBox="'0 0 ' + wide + ' ' + high" preserveAspectRatio="none" aria-hidden="true" :style="{'--tone': fill}"><path :d="path().line"/><path class="ac-area" :d="path().area"/></svg>`,
};
