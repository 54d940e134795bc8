"""ice-peer.py offer|answer FOLDER STUN: connects to its other half by ICE (RFC 8445) and exchanges a word with it.

The two exchange their candidates through files in FOLDER. Host candidates are left out, so that only the outside
endpoints which STUN finds can lead to the other: a connection means that both NATs were punched. Prints the pair used."""
import asyncio
import json
import pathlib
import sys

import aioice


async def read(path):
  while not path.exists():
    await asyncio.sleep(0.05)
  return json.loads(path.read_text())


def write(path, value):
  draft = path.with_suffix(".draft")
  draft.write_text(json.dumps(value))
  draft.rename(path)


async def main(role, folder, stun):
  peer = aioice.Connection(ice_controlling=role == "offer", stun_server=(stun, 3478), use_ipv6=False)
  await peer.gather_candidates()
  reflexive = [c for c in peer.local_candidates if c.type == "srflx"]
  if not reflexive:
    sys.exit("no STUN answer")
  write(folder / f"{role}.json", [peer.local_username, peer.local_password, [c.to_sdp() for c in reflexive]])
  name, password, candidates = await read(folder / f"{'answer' if role == 'offer' else 'offer'}.json")
  peer.remote_username, peer.remote_password = name, password
  for text in candidates:
    await peer.add_remote_candidate(aioice.Candidate.from_sdp(text))
  await peer.add_remote_candidate(None)
  await peer.connect()
  await peer.send(b"hello from " + role.encode())
  word = await peer.recv()
  pair = peer._nominated[1]
  print(word.decode(), "by", pair.remote_addr[0])
  # The other half may still be waiting for our word.
  await asyncio.sleep(1)
  await peer.close()


asyncio.run(asyncio.wait_for(main(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]), 40))
