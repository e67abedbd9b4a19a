// A Worker: imports and packs weights while the page goes on, and posts their words.
import init, { blocks, import_words } from "./pkg/lowbit_browser.js";

const ready = init();

self.onmessage = async ({ data: { rows, columns } }) => {
  try {
    await ready;
    // A page would fetch the blocks here: a part of a GGUF file.
    const numbers = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i));
    const words = import_words(rows, columns, blocks(numbers));
    // Its memory moves to the page, without a copy.
    self.postMessage({ words }, [words.buffer]);
  } catch (error) {
    self.postMessage({ error: error.message });
  }
};
