/** A WAV file: 16-bit PCM or 32-bit float, any channels. */
export function wav(
  channels: readonly (readonly number[] | Float32Array)[],
  sampleRate: number,
  { float = false }: { float?: boolean } = {},
): Buffer {
  const [count, frames, bytes] = [channels.length, channels[0]?.length ?? 0, float ? 4 : 2];
  const size = frames * count * bytes;
  const file = Buffer.alloc(44 + size);
  file.write('RIFF', 0, 'latin1');
  file.writeUInt32LE(36 + size, 4);
  file.write('WAVEfmt ', 8, 'latin1');
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(float ? 3 : 1, 20);
  file.writeUInt16LE(count, 22);
  file.writeUInt32LE(sampleRate, 24);
  file.writeUInt32LE(sampleRate * count * bytes, 28);
  file.writeUInt16LE(count * bytes, 32);
  file.writeUInt16LE(8 * bytes, 34);
  file.write('data', 36, 'latin1');
  file.writeUInt32LE(size, 40);
  for (let i = 0; i < frames; i++) {
    for (const [c, samples] of channels.entries()) {
      const at = 44 + (i * count + c) * bytes;
      if (float) file.writeFloatLE(samples[i]!, at);
      else file.writeInt16LE(Math.round(samples[i]! * 32767), at);
    }
  }
  return file;
}

/** A sine of a quarter of full scale. */
export function sine(frequency: number, seconds: number, sampleRate: number): Float32Array {
  const step = (2 * Math.PI * frequency) / sampleRate;
  return Float32Array.from({ length: Math.round(seconds * sampleRate) }, (_, i) => Math.sin(i * step) / 4);
}
