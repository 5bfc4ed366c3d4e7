// A client made of xmpp.js. It is told what to do and tells what it hears, both as lines of JSON.
import { client, jid, xml } from "@xmpp/client";
import dns from "node:dns";
import { createInterface } from "node:readline";

const [service, domain, username, password, resource] = process.argv.slice(2);
const MUC = "http://jabber.org/protocol/muc";
const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const xmpp = client({ service, domain, username, password, resource });
let room;

// The server is here, whatever name its URL has; the certificate must be for that name all the same.
const lookup = dns.lookup;
dns.lookup = (name, ...rest) => lookup("127.0.0.1", ...rest);

// Milliseconds; two seconds otherwise, which a busy machine takes now and then.
xmpp.timeout = 30_000;

const join = () => xmpp.send(xml("presence", { to: room }, xml("x", MUC, xml("history", { maxstanzas: "0" }))));
const body = (message) => message.getChildText("body");

// It comes back by itself, and says so where the session is a new one.
xmpp.on("online", async (address) => {
  // Not with the library's caller: answers that it takes are not counted by its stream management, which then has the last
  // stanza twice after each resumption (xmpp.js 0.14.0).
  const answer = new Promise((done) => xmpp.on("stanza", (stanza) => stanza.attrs.id === "carbons" && done()));
  await xmpp.send(xml("iq", { type: "set", id: "carbons" }, xml("enable", "urn:xmpp:carbons:2")));
  await answer;
  await xmpp.send(xml("presence"));
  if (room) await join();
  tell({ online: address.toString() });
});
xmpp.streamManagement.on("resumed", () => tell({ resumed: true }));
xmpp.on("error", () => {});
xmpp.on("stanza", (stanza) => {
  if (stanza.is("presence") && stanza.getChild("x", `${MUC}#user`)?.getChildByAttr("code", "110")) {
    tell({ joined: stanza.attrs.from });
  }
  const copied = ["sent", "received"].map((way) => stanza.getChild(way, "urn:xmpp:carbons:2")).find(Boolean);
  const message = copied?.getChild("forwarded", "urn:xmpp:forward:0").getChild("message") ?? stanza;
  if (message.is("message") && body(message) && message.attrs.type !== "error") {
    const other = copied?.name === "sent" ? message.attrs.to : message.attrs.from;
    tell({ with: jid(other).bare().toString(), body: body(message) });
  }
});
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { to, type, text, enter } = JSON.parse(line);
  if (enter) {
    room = enter;
    await join();
  } else {
    await xmpp.send(xml("message", { to, type, id: crypto.randomUUID() }, xml("body", {}, text)));
    tell({ said: text });
  }
});
await xmpp.start();
