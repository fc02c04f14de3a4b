// One row of the list, a card on a phone. It is a component of its own: what is new of one is drawn for that one only.
import { t, url, format, spark, colour, nodeName, Icon, NodeChip } from "./index.js";

const KINDS = { magnet: "magnet", torrent: "magnet", metalink: "link" };

export const TaskRow = {
  components: { Icon, NodeChip },
  props: { r: Object, look: Array, chosen: Boolean, at: Boolean, points: Array, minute: Number, first: String, icon: String },
  emits: ["choose", "say", "tag", "menu"],
  computed: {
    runs() {
      return this.r.status === "downloading";
    },
    kind() {
      return KINDS[this.r.kind] || "globe";
    },
    // How long it takes yet; for one that does not run, since when it is as it is.
    left() {
      if (this.runs) return format.eta(this.r.done, this.r.total, this.r.speed);
      return ["pending", "queued"].includes(this.r.status) ? "" : t("ago", { time: format.ago(this.minute - this.r.at) });
    },
    line() {
      return spark(this.points || [this.r.speed], 40, 16, { least: 8 }).line;
    },
    // On a phone, in place of the columns.
    short() {
      const size = this.r.total ? format.size(this.r.total) : "";
      return [size, this.runs ? format.speed(this.r.speed) : "", this.left].filter((text) => text && text !== "—").join(" · ");
    },
  },
  methods: {
    t,
    url,
    colour,
    nodeName,
    speed: format.speed,
    size: format.size,
    percent: format.percent,
    // The browser has turned it over already; with Shift that may not be what was chosen.
    async check(event) {
      this.$emit("choose", event);
      await this.$nextTick();
      event.target.checked = this.chosen;
    },
  },
  template: `
<div role="row" :data-task="r.id" :class="['ac-tr', 'ac-is-' + r.status, chosen && 'ac-chosen-row', at && 'ac-at']">
  <span role="cell" class="ac-td-check"><input type="checkbox" :checked="chosen" :aria-label="t('tasks.choose', {name: r.name})" @click.stop="check"></span>
  <span role="cell" class="ac-td-name"><span class="ac-kind"><Icon :name="kind"/></span><span class="ac-td-text"><a class="ac-clip" :href="url('/tasks/' + r.id)" :title="r.name"><bdi>{{ r.name }}</bdi></a>
    <small class="ac-td-meta"><span v-if="r.priority !== 'normal'" :class="['ac-tag', 'ac-priority', 'ac-priority-' + r.priority]"><Icon name="zap"/>{{ t('priority.' + r.priority) }}</span><button v-for="one in r.tags.slice(0, 2)" :key="one" type="button" class="ac-tag" :title="t('tasks.only_tag', {tag: one})" @click.stop="$emit('tag', one)"><bdi class="ac-clip">{{ one }}</bdi></button><span v-if="r.tags.length > 2" class="ac-wide" :title="r.tags.join(', ')">+{{ r.tags.length - 2 }}</span><span class="ac-phone-only ac-clip ac-num"><i v-if="r.node" class="ac-square" :style="{background: colour(r.node)}" :title="nodeName(r.node)"></i>{{ short }}</span><span v-if="r.why" :class="['ac-clip', 'ac-why', r.status === 'failed' && 'ac-danger']" :title="r.why">{{ r.why }}</span></small></span></span>
  <span role="cell" class="ac-td-status"><span :class="'ac-pill ac-tone-' + look[1]"><Icon :name="look[0]"/><span class="ac-pill-text">{{ t('state.' + r.status) }}</span></span></span>
  <span role="cell" class="ac-td-progress"><span :class="'ac-bar ac-tone-' + look[1]"><i :style="{width: r.pct + '%'}"></i></span><span class="ac-num">{{ runs || r.done || r.pct ? percent(r.pct) : '—' }}</span></span>
  <span role="cell" class="ac-td-speed ac-right"><template v-if="runs"><svg class="ac-mini" viewBox="0 0 40 16" preserveAspectRatio="none" aria-hidden="true"><path :d="line"/></svg><b class="ac-num" :title="t('tasks.connections', {n: r.connections})">{{ speed(r.speed) }}</b></template></span>
  <span role="cell" :class="['ac-td-eta', 'ac-right', 'ac-num', !runs && 'ac-muted']">{{ left }}</span>
  <span role="cell" class="ac-td-node"><NodeChip v-if="r.node" :id="r.node" link/></span>
  <span role="cell" class="ac-td-size ac-right ac-num">{{ r.total ? size(r.total) : '—' }}</span>
  <span role="cell" class="ac-td-do"><button v-if="first" type="button" class="ac-icon-button" :aria-label="t('task.do.' + first) + ': ' + r.name" :title="t('task.do.' + first)" @click.stop="$emit('say', first)"><Icon :name="icon"/></button><button type="button" class="ac-icon-button" :aria-label="t('task.do.remove') + ': ' + r.name" :title="t('task.do.remove')" @click.stop="$emit('say', 'remove')"><Icon name="trash-2"/></button><button type="button" class="ac-icon-button" aria-haspopup="menu" :aria-label="t('tasks.menu', {name: r.name})" @click.stop="$emit('menu', $event)"><Icon name="ellipsis-vertical"/></button></span>
</div>`,
};
