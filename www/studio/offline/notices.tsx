import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { write } from "../ui/dom.js";
import { stored } from "../ui/stored.js";
import { InstallButton } from "./install-offer.js";
import type { Updates } from "./updates.js";

/** Where the browser notes that the person was told that the page works offline. */
const TOLD = "tabtune:offline-told";

const is_told = signal(stored.get(TOLD) !== undefined);

function dismiss(): void {
  is_told.value = true;
  stored.set(TOLD, { version: 1 });
}

interface NoticesProps {
  updates: Updates;
  isBusy(): boolean;
  /** Loads the page anew, as the newest version. */
  use(): void;
}

/**
 * What the page tells of itself, at its lower edge, one thing at a time: a new version, or, once, that it works offline from now on.
 */
export function Notices({ updates, isBusy, use }: NoticesProps) {
  if (updates.is_new.value) return <NewVersion isBusy={isBusy()} use={use} />;
  return updates.is_kept.value && !is_told.value ? <ReadyOffline /> : null;
}

/** A reload in the middle of a run would end it, so there is no button for that meanwhile. */
function NewVersion({ isBusy, use }: { isBusy: boolean; use(): void }) {
  return (
    <Notice title="A new version is here." text={isBusy ? "You can change to it when the work is done." : "Reload to use it."}>
      {!isBusy && (
        <button type="button" class="primary" onClick={use}>
          Reload
        </button>
      )}
    </Notice>
  );
}

function ReadyOffline() {
  return (
    <Notice title="Ready to use offline." text="The page and its small model are now kept in this browser, and open without a network.">
      <InstallButton look="primary" asked={dismiss} />
      <button type="button" class="quiet" onClick={dismiss}>
        OK
      </button>
    </Notice>
  );
}

interface NoticeProps {
  title: string;
  text: string;
  children: ComponentChildren;
}

/** Says its title to screen readers, once. When it goes with the keyboard in it, that goes back to where it was. */
function Notice({ title, text, children }: NoticeProps) {
  const box = useRef<HTMLDivElement>(null);
  const before = useRef<HTMLElement>(null);
  useEffect(() => {
    write("said", title);
    const shown = box.current;
    return () => void (shown?.contains(document.activeElement) && before.current?.focus({ preventScroll: true }));
  }, [title]);
  const entered = ({ currentTarget, relatedTarget }: FocusEvent) => {
    const from = relatedTarget as HTMLElement | null;
    if (!(currentTarget as HTMLElement).contains(from)) before.current = from;
  };
  return (
    <div class="page-notice" ref={box} onFocusIn={entered}>
      <p>
        <strong>{title}</strong> {text}
      </p>
      {children}
    </div>
  );
}
