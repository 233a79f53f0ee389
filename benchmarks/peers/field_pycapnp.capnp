@0xd1a3c5e7092b4d6f;

# The dict of W3, and the methods of the workloads.

struct Office { street @0 :Text; city @1 :Text; zip @2 :Text; number @3 :Int64; }

struct Limits { tide @0 :Float64; wind @1 :Int64; vessels @2 :List(Text); }

struct Document {
  id @0 :Int64;
  kind @1 :Int64;
  copies @2 :Int64;
  shift @3 :Int64;
  length @4 :Int64;
  mask @5 :Int64;
  file @6 :Text;
  surveyor @7 :Text;
  folder @8 :Text;
  type @9 :Text;
  remark @10 :Text;
  quality @11 :Float64;
  north @12 :Float64;
  east @13 :Float64;
  final @14 :Bool;
  crews @15 :List(Text);
  depths @16 :List(Float64);
  marks @17 :List(Int64);
  office @18 :Office;
  limits @19 :Limits;
}

interface Item {
  ping @0 () -> (result :Int64);
}

interface Root {
  add @0 (a :Int64, b :Int64) -> (result :Int64);
  echo @1 (value :Document) -> (result :Document);
  blob @2 (data :Data) -> (result :Data);
  sink @3 (data :Data) -> (result :Int64);
  callback @4 (item :Item) -> (result :Int64);
  references @5 (count :Int64) -> (result :List(Item));
}
