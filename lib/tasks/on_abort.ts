/** One listener for each signal, whatever the number of those who wait: Node warns of a leak at eleven. */
interface Waiting {
  readonly acts: Set<() => void>;
  readonly listener: () => void;
}

const waiting = new WeakMap<AbortSignal, Waiting>();

function listen(signal: AbortSignal): Waiting {
  const acts = new Set<() => void>();
  const listener = (): void => {
    waiting.delete(signal);
    for (const act of [...acts]) act();
  };
  signal.addEventListener('abort', listener, { once: true });
  const made = { acts, listener };
  waiting.set(signal, made);
  return made;
}

/** Calls `act` once when the signal aborts; the result takes it back. The signal must not have aborted yet. */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  const { acts, listener } = waiting.get(signal) ?? listen(signal);
  const own = (): void => act();
  acts.add(own);
  return () => {
    if (!acts.delete(own) || acts.size > 0) return;
    signal.removeEventListener('abort', listener);
    if (waiting.get(signal)?.acts === acts) waiting.delete(signal);
  };
}
