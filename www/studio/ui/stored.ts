/** What the page keeps in localStorage, as JSON. Whatever cannot be read, or kept, counts as not there. */
export const stored = {
  get<T>(name: string): T | undefined {
    try {
      return (JSON.parse(localStorage.getItem(name) ?? "null") as T | null) ?? undefined;
    } catch {
      return undefined;
    }
  },
  /** Whether it could be kept. */
  set(name: string, value: unknown): boolean {
    try {
      localStorage.setItem(name, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  },
  forget(name: string): void {
    localStorage.removeItem(name);
  },
  names(prefix: string): string[] {
    return Object.keys(localStorage).filter((name) => name.startsWith(prefix));
  },
};
