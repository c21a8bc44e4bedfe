// A table's row, of cells that are HTML. Only a cell that changed is put anew: what is selected or has the focus elsewhere keeps it.
export default {
  template: `<tr><td v-for="(cell, place) in cells" :class="kinds[place]" :data-label="labels[place]" v-html="cell"></td></tr>`,
  props: { cells: Array, kinds: Array, labels: Array },
};
