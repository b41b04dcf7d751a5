// All that the first sight of the page waits for. The page is there as it came; what works in it is fetched behind that.
import { listenForInstall } from "./offline/install.js";
import { sayOpen } from "./offline/open.js";

sayOpen(import.meta.url);
listenForInstall();
await import("./main.js");
