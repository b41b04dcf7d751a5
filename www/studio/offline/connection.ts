/** Shows a small sign in the head of the page while there is no network. It is said once when that changes. */
export function showConnection(): void {
  const sign = document.createElement("p");
  sign.className = "offline-sign";
  sign.role = "status";
  document.querySelector("header")?.append(sign);
  const tell = () => (sign.textContent = navigator.onLine ? "" : "Offline");
  for (const kind of ["online", "offline"]) addEventListener(kind, tell);
  tell();
}
