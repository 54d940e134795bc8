import Synchronization

/// What a helper knows of one connection: how far it has read, and by how much the numbers of each direction's bytes
/// differ on both sides of us. A line of 64 bytes for each session place, in the region only where a rule has a helper: so
/// none can run out, and none has to be given back. Changed under the engine's lock.
///
/// Numbers of a direction are its sender's unless something else is said. As in the kernel (nf_conntrack_seqadj) one place
/// where the shift changes is known, the last: another text is changed only when the receiver has acknowledged the one
/// before, and what is acknowledged may come again at any place, for nobody takes it.
///
///     offset  0  2 x 24 bytes, per direction:
///                 0  next        UInt32  behind the last byte read
///                 4  place       UInt32  first byte of the text that was changed last
///                 8  before      UInt32  added to numbers up to there
///                12  after       UInt32  added to numbers behind that text
///                16  old length  UInt8   of the text; 0 = none was changed
///                17  new length  UInt8
///                18  port        UInt16  host order; with the form and its delimiter the new text
///                20  form        UInt8   FTPForm
///                21  delimiter   UInt8
///                22  marks       UInt8
///            48  asked    UInt8   FTPForm that the server may answer in, once; or `securing`
///            49  whole    UInt8   1: nobody was just writing it
///            52  mapping  UInt32  that the last expectation stands in; 0 = none. Over IPv6 its place, plus 1
///            56  expected UInt64  that expectation, see `Expectation`; over IPv6 its place tells
struct HelperLine {
  static let bytes = 64

  /// Reads the direction: it was there from the first byte, and nothing was missed.
  static let reads: UInt8 = 1
  /// The next byte is not the first one of a line.
  static let isInLine: UInt8 = 2
  /// The changed text is not acknowledged yet.
  static let isPending: UInt8 = 4
  /// In `asked`: the client wants encryption.
  static let securing: UInt8 = 0xFF

  let line: UnsafeMutableRawPointer

  /// One direction.
  struct Side {
    fileprivate let start: UnsafeMutableRawPointer

    private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> { shared32(start, offset) }
    var next: UInt32 {
      get { word(0).plain }
      nonmutating set { word(0).plain = newValue }
    }
    var place: UInt32 {
      get { word(4).plain }
      nonmutating set { word(4).plain = newValue }
    }
    var before: UInt32 {
      get { word(8).plain }
      nonmutating set { word(8).plain = newValue }
    }
    var after: UInt32 {
      get { word(12).plain }
      nonmutating set { word(12).plain = newValue }
    }
    var oldLength: UInt8 {
      get { shared8(start, 16).plain }
      nonmutating set { shared8(start, 16).plain = newValue }
    }
    var newLength: UInt8 {
      get { shared8(start, 17).plain }
      nonmutating set { shared8(start, 17).plain = newValue }
    }
    var port: UInt16 {
      get { shared16(start, 18).plain }
      nonmutating set { shared16(start, 18).plain = newValue }
    }
    var form: FTPForm? {
      get { FTPForm(rawValue: shared8(start, 20).plain) }
      nonmutating set { shared8(start, 20).plain = newValue?.rawValue ?? 0 }
    }
    var delimiter: UInt8 {
      get { shared8(start, 21).plain }
      nonmutating set { shared8(start, 21).plain = newValue }
    }
    private var marks: UInt8 {
      get { shared8(start, 22).plain }
      nonmutating set { shared8(start, 22).plain = newValue }
    }

    func has(_ mark: UInt8) -> Bool { marks & mark != 0 }
    func mark(_ mark: UInt8, _ isSet: Bool = true) { marks = isSet ? marks | mark : marks & ~mark }

    /// Its numbers are other ones on the far side.
    var isShifted: Bool { before | after != 0 }

    /// A number as the receiver is to see it; nil for one in the middle of the changed text.
    func outward(_ number: UInt32) -> UInt32? {
      let distance = Int32(bitPattern: number &- place)
      if distance <= 0 { return number &+ before }
      return distance >= Int32(oldLength) ? number &+ after : nil
    }

    /// What the receiver says of a number, as the sender is to see it. Of the changed text it has either all or nothing.
    func inward(_ number: UInt32) -> UInt32 {
      let distance = Int32(bitPattern: number &- (place &+ before))
      if distance <= 0 { return number &- before }
      return distance >= Int32(newLength) ? number &- after : place
    }

    /// How bytes from `sequence` to before `end` lie to the changed text.
    func overlap(_ sequence: UInt32, _ end: UInt32) -> Overlap {
      let first = Int32(bitPattern: sequence &- place)
      let last = Int32(bitPattern: end &- place)
      guard oldLength > 0, first < Int32(oldLength), last > 0 else { return .none }
      return first <= 0 && last >= Int32(oldLength) ? .whole : .part
    }

    enum Overlap { case none, whole, part }

    /// The segment has bytes that follow what was read.
    func overtakes(_ segment: HelpedSegment) -> Bool {
      let known = Int32(bitPattern: next &- segment.sequence)
      return known >= 0 && Int(known) < segment.count
    }

    /// Notes that a text at `place` becomes another one.
    func change(_ endpoint: FTPEndpoint, at place: UInt32, to port: UInt16, newLength: Int) {
      before = after
      self.place = place
      oldLength = UInt8(truncatingIfNeeded: endpoint.length)
      self.newLength = UInt8(truncatingIfNeeded: newLength)
      after = before &+ UInt32(truncatingIfNeeded: newLength &- endpoint.length)
      self.port = port
      form = endpoint.form
      delimiter = endpoint.delimiter
      mark(HelperLine.isPending)
    }

    /// The receiver has everything up to before `number`.
    func acknowledge(_ number: UInt32) {
      if has(HelperLine.isPending), Int32(bitPattern: number &- place) >= Int32(oldLength) {
        mark(HelperLine.isPending, false)
      }
    }

    /// A stream begins at `number`: it is read from here on, and nothing is shifted yet.
    func begin(at number: UInt32) {
      clear()
      next = number
      place = number
      mark(HelperLine.reads)
    }

    /// The same, where the number itself has gone out shifted already.
    func resume(at number: UInt32, shiftedBy shift: UInt32) {
      let isRead = has(HelperLine.reads)
      begin(at: number)
      before = shift
      after = shift
      mark(HelperLine.reads, isRead)
    }

    fileprivate func clear() {
      for offset in stride(from: 0, to: 24, by: 8) { shared64(start, offset).plain = 0 }
    }
  }

  func side(_ d: Int) -> Side { Side(start: line + d &* 24) }

  /// Numbers of either direction are other ones on the far side.
  var isShifted: Bool { side(0).isShifted || side(1).isShifted }

  /// Nothing is read any more; what is shifted stays so.
  func stop() {
    side(0).mark(Self.reads, false)
    side(1).mark(Self.reads, false)
  }

  var asked: UInt8 {
    get { shared8(line, 48).plain }
    nonmutating set { shared8(line, 48).plain = newValue }
  }
  var mapping: UInt32 {
    get { shared32(line, 52).plain }
    nonmutating set { shared32(line, 52).plain = newValue }
  }
  var expected: UInt64 {
    get { shared64(line, 56).plain }
    nonmutating set { shared64(line, 56).plain = newValue }
  }

  /// Makes it the line of a connection that has not begun.
  func clear() {
    for offset in stride(from: 0, to: Self.bytes, by: 8) { shared64(line, offset).plain = 0 }
    isWhole = true
  }

  /// False while it is written: what another engine finds so is of no use.
  var isWhole: Bool {
    get { shared8(line, 49).pointee.load(ordering: .acquiring) == 1 }
    nonmutating set { shared8(line, 49).pointee.store(newValue ? 1 : 0, ordering: .sequentiallyConsistent) }
  }

  /// Takes over what another engine has known, its numbers of what is expected too; false, and nothing done, where it contradicts itself.
  func copy(from other: HelperLine) -> Bool {
    guard other.isWhole else { return false }
    for d in 0..<2 {
      let side = other.side(d)
      let change = Int64(side.newLength) - Int64(side.oldLength)
      guard side.oldLength <= FTPEndpoint.longest, side.newLength <= FTPEndpoint.longest,
        side.after &- side.before == UInt32(truncatingIfNeeded: change),
        side.oldLength == 0 || side.newLength > 0 && side.form != nil
      else { return false }
    }
    clear()
    for offset in stride(from: 0, to: 48, by: 8) { shared64(line, offset).plain = shared64(other.line, offset).plain }
    asked = other.asked
    mapping = other.mapping
    expected = other.expected
    return true
  }
}

/// The helper lines of all session places.
struct HelperTable {
  /// First byte of the line of place 0; of no meaning where the region has none.
  let start: UnsafeMutableRawPointer

  subscript(session: UInt32) -> HelperLine { HelperLine(line: start + Int(session) &* HelperLine.bytes) }
}
