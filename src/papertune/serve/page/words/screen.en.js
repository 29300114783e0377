export default {
  "nav.screening": "Screening"
};
