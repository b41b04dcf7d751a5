/** Browsers tell the system's language, which may be none, as "C" is. uPlot wants one as soon as it is loaded. */
try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en" });
}

export {};
