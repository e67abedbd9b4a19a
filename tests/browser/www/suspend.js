// Lets the event loop turn while WebAssembly is suspended.
const channel = new MessageChannel();
let resume;
channel.port1.onmessage = () => resume();
let turns = 0;

export const turn = new WebAssembly.Suspending(
  () =>
    new Promise((resolve) => {
      turns += 1;
      if (turns % 16 === 0) {
        setTimeout(resolve, 1);
      } else {
        resume = resolve;
        channel.port2.postMessage(0);
      }
    }),
);
