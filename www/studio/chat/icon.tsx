import { useEffect, useRef } from "preact/hooks";
import { thumb } from "../ui/icons.js";

/** A thumb that points up or down. */
export function Thumb({ is_up }: { is_up: boolean }) {
  const place = useRef<HTMLSpanElement>(null);
  useEffect(() => place.current?.replaceChildren(thumb(is_up)), [is_up]);
  return <span class="thumb-place" ref={place} />;
}
