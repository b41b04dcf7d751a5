/** What Chromium tells a page that could be installed as an app. No library of types has it, as other browsers leave this to a menu. */
interface InstallEvent extends Event {
  prompt(): Promise<unknown>;
}

let offered: InstallEvent | undefined;
let changed: () => void = () => {};

/** Begins to listen, before anything else of the page is there: browsers tell it once, and early. */
export function listenForInstall(): void {
  addEventListener("beforeinstallprompt", (event) => {
    // The page offers it at its own time; the browser's question can be asked once.
    event.preventDefault();
    offered = event as InstallEvent;
    changed();
  });
  addEventListener("appinstalled", () => {
    offered = undefined;
    changed();
  });
}

/** Whether the browser would install the page as an app, told now and whenever that changes. */
export function followInstall(tell: (is_offered: boolean) => void): void {
  changed = () => tell(offered !== undefined);
  changed();
}

/** Has the browser ask the person whether to install the page. */
export async function askToInstall(): Promise<void> {
  const event = offered;
  offered = undefined;
  changed();
  await event?.prompt();
}
