// A Worker that imports weights and posts their words.
import init, { import_words } from "./pkg/lowbit_browser_tests.js";

await init();
const words = import_words();
self.postMessage(words, [words.buffer]);
