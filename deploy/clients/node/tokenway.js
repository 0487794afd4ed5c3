// What a program needs to call a Tokenway mesh: copy this file, google_rpc.proto and the folder protos/.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const includeDirs = ["../../../protos", ".."].map((each) => fileURLToPath(new URL(each, import.meta.url)));
const definition = protoLoader.loadSync(["tokenway/router/v1/router.proto", "google_rpc.proto"], {
  includeDirs,
  enums: String,
  longs: Number, // micro-dollars and tokens stay far below 2^53
  defaults: true,
  oneofs: true, // event.event names the one that is set
  json: true, // unpacks the status details
});
const { RouterService } = grpc.loadPackageDefinition(definition).tokenway.router.v1;
const Status = definition["google.rpc.Status"];

const THIS_MACHINE = /^(unix:|localhost:|\[::1\]:|127(\.\d+){3}:)/;

// A router and the key to it. Over TLS, unless the router is on this machine and `caFile` is not given: it names the
// authority of the router's certificate, default: those that Node.js trusts.
export class Tokenway {
  #key;
  #router;

  constructor(address, { key, caFile }) {
    this.#key = key;
    const plaintext = !caFile && THIS_MACHINE.test(address);
    const credentials = plaintext
      ? grpc.credentials.createInsecure()
      : grpc.credentials.createSsl(caFile && readFileSync(caFile));
    // The router tries again and falls back by itself; retries here would multiply with its own.
    this.#router = new RouterService(address, credentials, { "grpc.enable_retries": 0 });
  }

  // The events of an answer: `started`, `delta` any number of times, `finished`. Leaving the loop cancels the request.
  // Throws a TokenwayError, also for a stream that ends without `finished`: that is not an answer.
  async *stream(request, { timeoutSeconds = 60, traceparent } = {}) {
    const call = this.#router.StreamGenerate({ request }, this.#metadata(traceparent), {
      deadline: Date.now() + timeoutSeconds * 1000,
    });
    try {
      let last;
      for await (const event of call) yield (last = event);
      if (last?.event !== "finished") throw new TokenwayError("STREAM_BROKEN", "the stream ended without `finished`");
    } catch (error) {
      throw error.metadata instanceof grpc.Metadata ? explained(error) : error;
    } finally {
      call.on("error", () => {}); // cancelling is no failure
      call.cancel(); // grpc-js does not by itself when a loop is left
    }
  }

  close() {
    this.#router.close();
  }

  #metadata(traceparent) {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${this.#key}`);
    if (traceparent) metadata.set("traceparent", traceparent); // the request joins the caller's trace
    return metadata;
  }
}

// Why a call failed. `reason` is stable for programs: protos/tokenway/common/v1/error.proto lists them all.
// `retryAfterSeconds` is undefined where later is no better; `receipt` bills what was delivered before the call failed.
export class TokenwayError extends Error {
  constructor(reason, message, { metadata = {}, fields = [], quotas = [], ...rest } = {}) {
    super(message);
    Object.assign(this, { name: "TokenwayError", reason, metadata, fields, quotas, ...rest });
  }
}

function explained({ code, details: message, metadata }) {
  const [packed] = metadata.get("grpc-status-details-bin");
  const details = packed ? Status.deserialize(packed).details : [];
  const detail = (name) => details.find((each) => each["@type"].endsWith(`/${name}`));
  const info = detail("google.rpc.ErrorInfo");
  // Where gRPC itself ended the call there are no details: then the status code is all that is known.
  return new TokenwayError(info?.reason ?? grpc.status[code], message, {
    metadata: info?.metadata,
    fields: detail("google.rpc.BadRequest")?.fieldViolations,
    quotas: detail("google.rpc.QuotaFailure")?.violations,
    retryAfterSeconds: seconds(detail("google.rpc.RetryInfo")?.retryDelay),
    requestId: detail("google.rpc.RequestInfo")?.requestId,
    receipt: detail("tokenway.common.v1.Receipt"),
  });
}

function seconds(duration) {
  return duration && duration.seconds + duration.nanos / 1e9;
}
