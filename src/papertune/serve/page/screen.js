// The pages of screening.
export const routes = [];
