export default {
  "nav.screening": "筛选"
};
