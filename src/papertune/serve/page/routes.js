// Which component shows which page.
import { HomePage } from "./pages/home.js";
import { JobsPage } from "./pages/jobs.js";
import { TablePage } from "./pages/table.js";
import { TablesPage } from "./pages/tables.js";
import { routes as screening } from "./screen.js";

export const routes = [
  ["", HomePage],
  ["tables", TablesPage],
  ["tables/:id", TablePage],
  ["jobs", JobsPage],
  ...screening,
];
