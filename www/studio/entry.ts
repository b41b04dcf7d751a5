// All that the first sight of the page waits for. The page is there as it came; what works in it is fetched behind that.
import { listenForInstall } from "./offline/install.js";
import { sayOpen } from "./offline/open.js";

sayOpen(import.meta.url);
listenForInstall();
try {
  await import("./main.js");
} catch (thrown) {
  const words = document.createElement("p");
  words.className = "card";
  words.setAttribute("role", "alert");
  words.textContent = "The page did not come as a whole, so nothing in it works yet. Check the network, and reload it.";
  document.querySelector("main")?.prepend(words);
  throw thrown;
}
