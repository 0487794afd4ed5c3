// Asks a mesh one question: the answer on standard output as it comes, receipt or error on standard error.
// See README.md for the options and what is read from the environment.

import { parseArgs } from "node:util";
import { Tokenway, TokenwayError } from "./tokenway.js";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: "string", default: "" }, // the mesh chooses
    "max-tokens": { type: "string", default: "512" },
    timeout: { type: "string", default: "60" },
    "stop-after": { type: "string", default: "Infinity" },
    ca: { type: "string" },
  },
});
const address = process.env.TOKENWAY_ROUTER ?? "127.0.0.1:50051";
const key = process.env.TOKENWAY_API_KEY ?? "";
const call = { timeoutSeconds: Number(options.timeout), traceparent: process.env.TRACEPARENT };
const maxTokens = Number(options["max-tokens"]);
const stopAfter = Number(options["stop-after"]);

const mesh = new Tokenway(address, { key, caFile: options.ca });
const messages = [{ role: "ROLE_USER", parts: [{ text: positionals.join(" ") }] }];
const question = { model: options.model, conversation: { messages }, sampling: { temperature: 0, maxTokens } };
try {
  let deltas = 0;
  for await (const { delta, finished } of mesh.stream(question, call)) {
    if (delta) process.stdout.write(delta.text.join(""));
    if (finished) console.error(receipt(finished));
    if (delta && ++deltas >= stopAfter) break; // cancels: the engine stops, and what was delivered is billed
  }
} catch (error) {
  for (const line of explanation(error)) console.error(line); // which rule or limit, what to do, when to try again
  process.exitCode = 1;
}
mesh.close();

function receipt({ finishReason, receipt: { model, usage, costMicroUsd, requestId } }) {
  const tokens = `${usage.inputTokens} + ${usage.outputTokens} tokens`;
  return `\n${model}: ${tokens}, ${costMicroUsd} micro-dollars, ${finishReason}, request ${requestId}`;
}

function* explanation(error) {
  if (!(error instanceof TokenwayError)) throw error;
  yield `\n${error.reason}: ${error.message}`;
  for (const { field, description } of error.fields) yield `  ${field}: ${description}`;
  for (const { subject, description } of error.quotas) yield `  ${subject}: ${description}`;
  if (error.retryAfterSeconds !== undefined) yield `  try again in ${error.retryAfterSeconds} s`;
  if (error.receipt) yield `  billed: ${error.receipt.costMicroUsd} micro-dollars`;
  if (error.requestId) yield `  request ${error.requestId}`;
}
