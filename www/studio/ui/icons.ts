const SVG = "http://www.w3.org/2000/svg";

/** A raised hand's outline, in a square of 24. */
const THUMB = "M8 10.5 12 3c1.6 0 2.5 1.2 2.2 2.7L13.5 9H19a2 2 0 0 1 2 2.4l-1.4 7A2 2 0 0 1 17.6 20H8zM3 10.5h5V20H3z";

/** A thumb that points up or down. It says nothing to screen readers; the button that it is on does. */
export function thumb(is_up: boolean): SVGElement {
  const icon = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", THUMB);
  icon.append(path);
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", "aria-hidden": "true", class: is_up ? "thumb" : "thumb down" })) {
    icon.setAttribute(name, value);
  }
  return icon;
}
