// The pages of screening.
import { ConflictsPage } from "./screen/conflicts.js";
import { HistoryPage } from "./screen/history.js";
import { ProgressPage } from "./screen/progress.js";
import { ReadPage } from "./screen/read.js";
import { ScreensPage } from "./screen/screens.js";
import { SettingsPage } from "./screen/settings.js";

export const routes = [
  ["screens", ScreensPage],
  ["screens/:id", ReadPage],
  ["screens/:id/progress", ProgressPage],
  ["screens/:id/history", HistoryPage],
  ["screens/:id/conflicts", ConflictsPage],
  ["screens/:id/settings", SettingsPage],
];
