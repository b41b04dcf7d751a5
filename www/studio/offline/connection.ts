/** Shows a small sign beside the page's name while there is no network. It is said once when that changes. */
export function showConnection(): void {
  const sign = document.createElement("p");
  sign.className = "offline-sign";
  sign.setAttribute("role", "status");
  document.querySelector(".brand")?.after(sign);
  const tell = () => (sign.textContent = navigator.onLine ? "" : "Offline");
  for (const kind of ["online", "offline"]) addEventListener(kind, tell);
  tell();
}
