// Which component shows which page.
import { ChatPage } from "./pages/chat.js";
import { CorrectPage } from "./pages/correct.js";
import { FillPage } from "./pages/fill.js";
import { HomePage } from "./pages/home.js";
import { JobPage } from "./pages/job.js";
import { JobsPage } from "./pages/jobs.js";
import { RecipePage } from "./pages/recipe/page.js";
import { ReportPage } from "./pages/report.js";
import { RunPage, RunsPage } from "./pages/runs.js";
import { TablePage } from "./pages/table.js";
import { TablesPage } from "./pages/tables.js";
import { routes as screening } from "./screen.js";

export const routes = [
  ["", HomePage],
  ["tables", TablesPage],
  ["tables/:id", TablePage],
  ["tables/:id/recipe", RecipePage],
  ["tables/:id/correct", CorrectPage],
  ["fill", FillPage],
  ["jobs", JobsPage],
  ["jobs/:id", JobPage],
  ["runs", RunsPage],
  ["runs/:name", RunPage],
  ["runs/:name/report", ReportPage],
  ["runs/:name/chat", ChatPage],
  ...screening,
];
