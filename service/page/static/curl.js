// The request of the form as a command line.

const MANY = 8; // more files are packed first

const quoted = (text) => (/^[\w./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// `fields`: [name, value] of the form; `keyed`: whether the service wants a key, which is never put in.
export function curlCommand(files, fields, keyed) {
  const names = files.map((file) => file.name);
  const pack = names.length > MANY ? `zip -jq frames.zip ${names.map(quoted).join(" ")} && ` : "";
  const sent = pack ? ["frames.zip"] : names;
  const parts = [
    ...(keyed ? ['-H "Authorization: Bearer $KEY"'] : []),
    ...sent.map((name) => `-F ${quoted(`file=@${name}`)}`),
    ...fields.map(([name, value]) => `-F ${quoted(`${name}=${value}`)}`),
    quoted(`${location.origin}/reconstruct`),
  ];
  return `${pack}curl ${parts.join(" ")}`;
}
